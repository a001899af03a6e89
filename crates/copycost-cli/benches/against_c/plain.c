/*
 * plain: the plain C program that the Rust send paths of copycost are compared with.
 *
 * Server threads and client threads in one process over loopback TCP, under the conditions that copycost sets, so that
 * only the language and the structure of the program differ.
 *
 *   build   cc -O2 -Wall -Wextra -pthread -o plain plain.c
 *   run     plain PATH SIZE CLIENTS SNDBUF RCVBUF PLACEMENT REAP_BYTES CPUS FIELDS RECEIVE_OFFSET
 *           plain zerocopy 65536 1 262144 1048576 paired 262144 0,1 64,8272,16480,24688,32896,41104,49312,57520 128
 *
 * PATH is twocopy (a send() per field), onecopy (one sendmsg() of eight iovecs) or zerocopy (the same with MSG_ZEROCOPY,
 * the error queue read to its end once more than REAP_BYTES were sent since it was last read). PLACEMENT is paired
 * (client i and server i on CPUS[i % n], SCHED_BATCH), split (servers on the first half of CPUS, clients on the rest,
 * default policy) or free. FIELDS says where each field begins, in bytes from the beginning of a page, RECEIVE_OFFSET where
 * a receive buffer begins in its page: on some CPUs the distance of the two ends decides how fast a copy is. SNDBUF and RCVBUF are the numbers given to setsockopt(2); the kernel doubles them.
 *
 * Once all connections stand it reads commands from stdin. `turn MS` has all clients ask, lets everything run for MS/10
 * and until every client has received something, then counts the bytes received in a window of MS milliseconds, and answers with one line: `bytes NS sends copied`.
 * bytes and NS (nanoseconds) are the window's; sends (send calls) and copied (completions that the kernel marked as
 * copied) are the whole turn's, lead-in and tail included. EOF ends it with 0; anything wrong is one sentence on stderr
 * and exit 1, and so are 60 seconds without a command.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FIELDS 8
#define PAGE 4096
#define RECV_BYTES (256 * 1024)
#define TIMEOUT_S 10
#define WATCHDOG_S 60
#define MAX_TURN_MS 40000 /* with its lead-in still well inside the watchdog */
#define LINE 128          /* two cache lines: the adjacent-line prefetcher fetches pairs */

enum path { TWOCOPY, ONECOPY, ZEROCOPY };
enum placement { PAIRED, SPLIT, FREE };

/* One connection: what its server thread and its client thread write lies on lines of their own. */
struct pair {
    _Alignas(LINE) _Atomic uint64_t received; /* bytes, over all turns; written by the client alone */
    _Alignas(LINE) _Atomic uint64_t end;      /* `received` at the end of this turn; UINT64_MAX until known */
    _Alignas(LINE) int server_fd;
    struct iovec fields[FIELDS];
    uint64_t sends, copied;    /* of this turn */
    uint32_t issued, complete; /* zero-copy ids, wrapping as the kernel's counter does */
    size_t since_reap;         /* bytes */
    _Alignas(LINE) int client_fd;
    size_t index;
    uint64_t before; /* `received` when this turn began */
};

static enum path path;
static enum placement placement;
static size_t size, clients, reap_bytes;
static int sndbuf, rcvbuf;
static int cpus[CPU_SETSIZE];
static size_t ncpus;
static size_t begins[FIELDS], receive_offset;
static struct pair *pairs;

static struct {
    _Alignas(LINE) atomic_bool flag;
    char pad[LINE - 1];
} stop;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_begins = PTHREAD_COND_INITIALIZER, all_done = PTHREAD_COND_INITIALIZER;
static uint64_t turn;  /* guarded by lock */
static size_t running; /* threads that have not finished this turn; guarded by lock */

static _Noreturn void die(const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    dprintf(STDERR_FILENO, "plain: %s\n", text);
    _exit(1);
}

static void on_alarm(int signal)
{
    static const char text[] = "plain: the watchdog ended it: no command, or no end of a turn, for 60 seconds\n";
    (void)signal;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(1);
    _exit(1);
}

/* ---- sending ---- */

/*
 * send(2) and sendmsg(2) without the cancellation points that glibc makes of them in a program with threads: they cost a
 * message of eight send() calls a tenth of its time, and are no matter of the language.
 */
static ssize_t send_now(int fd, const void *bytes, size_t length, int flags)
{
    return syscall(SYS_sendto, fd, bytes, length, flags, NULL, 0);
}

static ssize_t sendmsg_now(int fd, const struct msghdr *message, int flags)
{
    return syscall(SYS_sendmsg, fd, message, flags);
}

static void send_fields(struct pair *p)
{
    for (int i = 0; i < FIELDS; i++) {
        const char *at = p->fields[i].iov_base;
        size_t left = p->fields[i].iov_len;
        while (left > 0) {
            ssize_t n = send_now(p->server_fd, at, left, MSG_NOSIGNAL);
            p->sends++;
            if (n < 0) {
                if (errno == EINTR)
                    continue;
                die("send on connection %zu failed: %s", p->index, strerror(errno));
            }
            at += n;
            left -= (size_t)n;
        }
    }
}

/* Reads the error queue until it is empty. A notification is a return value of 0; only EAGAIN is the end. */
static void reap(struct pair *p)
{
    for (;;) {
        char control[CMSG_SPACE(sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6)) + 64];
        struct msghdr m = { .msg_control = control, .msg_controllen = sizeof control };
        if (recvmsg(p->server_fd, &m, MSG_ERRQUEUE) < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN)
                break;
            die("reading the error queue of connection %zu failed: %s", p->index, strerror(errno));
        }
        if (m.msg_flags & MSG_CTRUNC)
            die("a notification on connection %zu was cut short", p->index);
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            struct sock_extended_err e;
            if (!((c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) ||
                  (c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR)))
                continue;
            memcpy(&e, CMSG_DATA(c), sizeof e);
            if (e.ee_origin != SO_EE_ORIGIN_ZEROCOPY)
                die("connection %zu reported an error: %s", p->index, strerror((int)e.ee_errno));
            uint32_t n = e.ee_data - e.ee_info + 1;
            p->complete += n;
            if (e.ee_code & SO_EE_CODE_ZEROCOPY_COPIED)
                p->copied += n;
        }
    }
    p->since_reap = 0;
}

static void wait_and_reap(struct pair *p)
{
    struct pollfd fd = { .fd = p->server_fd, .events = 0 };
    int n = poll(&fd, 1, TIMEOUT_S * 1000);
    if (n < 0 && errno != EINTR)
        die("poll on connection %zu failed: %s", p->index, strerror(errno));
    if (n == 0)
        die("no completion came on connection %zu for %d seconds", p->index, TIMEOUT_S);
    if (n > 0 && !(fd.revents & POLLERR))
        die("connection %zu was closed with completions outstanding", p->index);
    reap(p);
}

/* Drops the first n bytes of the iovecs from *iov on, in the middle of a field too. */
static void advance(struct iovec **iov, size_t *count, size_t n)
{
    while (*count > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        ++*iov;
        --*count;
    }
    if (n > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
}

static void send_gathered(struct pair *p, int zerocopy)
{
    struct iovec copy[FIELDS], *iov = p->fields;
    size_t count = FIELDS, left = size;
    int flags = MSG_NOSIGNAL | zerocopy;
    while (left > 0) {
        struct msghdr m = { .msg_iov = iov, .msg_iovlen = count };
        ssize_t n = sendmsg_now(p->server_fd, &m, flags);
        p->sends++;
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == ENOBUFS && (flags & MSG_ZEROCOPY)) {
                if (p->complete == p->issued)
                    flags = MSG_NOSIGNAL; /* nothing in flight will ever make room: the rest of this message is copied */
                else
                    wait_and_reap(p);
                continue;
            }
            die("sendmsg on connection %zu failed: %s", p->index, strerror(errno));
        }
        if (flags & MSG_ZEROCOPY) {
            p->issued++;
            p->since_reap += (size_t)n;
        }
        left -= (size_t)n;
        if (left > 0) {
            if (iov == p->fields) {
                memcpy(copy, p->fields, sizeof copy);
                iov = copy;
            }
            advance(&iov, &count, (size_t)n);
        }
    }
    if (p->since_reap > reap_bytes)
        reap(p);
}

static void send_message(struct pair *p)
{
    switch (path) {
    case TWOCOPY:
        send_fields(p);
        break;
    case ONECOPY:
        send_gathered(p, 0);
        break;
    case ZEROCOPY:
        send_gathered(p, MSG_ZEROCOPY);
        break;
    }
}

/* ---- threads ---- */

static void take_seat(size_t i, int is_client)
{
    if (placement == FREE)
        return;
    size_t half = ncpus / 2; /* of a single CPU: none, and both ends share it */
    int cpu = placement == PAIRED ? cpus[i % ncpus]
              : half == 0         ? cpus[0]
              : is_client         ? cpus[half + i % (ncpus - half)]
                                  : cpus[i % half];
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set) < 0)
        die("pinning a thread to CPU %d failed: %s", cpu, strerror(errno));
    struct sched_param none = { 0 };
    if (placement == PAIRED && sched_setscheduler(0, SCHED_BATCH, &none) < 0)
        die("setting SCHED_BATCH failed: %s", strerror(errno));
}

static void finish_turn(void)
{
    pthread_mutex_lock(&lock);
    if (--running == 0)
        pthread_cond_signal(&all_done);
    pthread_mutex_unlock(&lock);
}

/* Memory that begins with a page, of `bytes` at least. */
static unsigned char *pages(size_t bytes)
{
    unsigned char *memory = aligned_alloc(PAGE, (bytes + PAGE - 1) / PAGE * PAGE);
    if (!memory)
        die("no memory for %zu bytes", bytes);
    return memory;
}

static size_t length_of(size_t field)
{
    return size / FIELDS + (field < size % FIELDS);
}

static void make_message(struct pair *p)
{
    size_t at = 0;
    unsigned char *memory = pages(begins[FIELDS - 1] + length_of(FIELDS - 1));
    for (size_t i = 0; i < FIELDS; i++) {
        size_t len = length_of(i);
        unsigned char *field = memory + begins[i];
        for (size_t j = 0; j < len; j++, at++)
            field[j] = (unsigned char)(at ^ (at >> 8));
        p->fields[i] = (struct iovec){ .iov_base = field, .iov_len = len };
    }
}

/* Waits for the client's `go` byte. Timeouts between turns mean nothing: another program may have its turn. */
static int asked(struct pair *p)
{
    char go;
    for (;;) {
        ssize_t n = recv(p->server_fd, &go, 1, 0);
        if (n >= 0)
            return n == 1;
        if (errno != EINTR && errno != EAGAIN)
            die("waiting for the client of connection %zu failed: %s", p->index, strerror(errno));
    }
}

static void *serve(void *arg)
{
    struct pair *p = arg;
    uint64_t sent = 0;
    take_seat(p->index, 0);
    make_message(p);
    finish_turn();
    while (asked(p)) {
        p->sends = p->copied = 0;
        while (!atomic_load_explicit(&stop.flag, memory_order_relaxed)) {
            send_message(p);
            sent += size;
        }
        /* The end is told before the last message is sent, so that this message wakes a client that has read everything. */
        sent += size;
        atomic_store_explicit(&p->end, sent, memory_order_release);
        send_message(p);
        if (path == ZEROCOPY) {
            reap(p);
            while (p->complete != p->issued)
                wait_and_reap(p);
        }
        finish_turn();
    }
    return NULL;
}

static void receive_turn(struct pair *p, char *buffer)
{
    uint64_t received = atomic_load_explicit(&p->received, memory_order_relaxed);
    while (received != atomic_load_explicit(&p->end, memory_order_acquire)) {
        ssize_t n = recv(p->client_fd, buffer, RECV_BYTES, 0);
        if (n == 0)
            die("the server of connection %zu went away", p->index);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN)
                die("the client of connection %zu received nothing for %d seconds", p->index, TIMEOUT_S);
            die("recv on connection %zu failed: %s", p->index, strerror(errno));
        }
        received += (uint64_t)n;
        atomic_store_explicit(&p->received, received, memory_order_relaxed);
    }
    /* Acknowledge the last segment now, or its completion waits 40 ms for the delayed acknowledgement. */
    int on = 1;
    if (setsockopt(p->client_fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on) < 0)
        die("TCP_QUICKACK failed: %s", strerror(errno));
}

static void *consume(void *arg)
{
    struct pair *p = arg;
    uint64_t last = 0;
    take_seat(p->index, 1);
    char *buffer = (char *)pages(receive_offset + RECV_BYTES) + receive_offset;
    memset(buffer, 1, RECV_BYTES);
    finish_turn();
    for (;;) {
        pthread_mutex_lock(&lock);
        while (turn == last)
            pthread_cond_wait(&turn_begins, &lock);
        last = turn;
        pthread_mutex_unlock(&lock);
        ssize_t n;
        do
            n = send(p->client_fd, "g", 1, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n != 1)
            die("asking on connection %zu failed: %s", p->index, strerror(errno));
        receive_turn(p, buffer);
        finish_turn();
    }
    return NULL;
}

/* ---- connections ---- */

static void set(int fd, int level, int option, const void *value, socklen_t len, const char *name)
{
    if (setsockopt(fd, level, option, value, len) < 0)
        die("%s failed: %s", name, strerror(errno));
}

static void set_timeouts(int fd)
{
    struct timeval t = { .tv_sec = TIMEOUT_S };
    set(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t, "SO_RCVTIMEO");
    set(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t, "SO_SNDTIMEO");
}

/* Where cubic is not in net.ipv4.tcp_allowed_congestion_control it takes privilege; reno is always allowed. */
static void set_congestion(int fd)
{
    static int told;
    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) == 0)
        return;
    if (!told++)
        dprintf(STDERR_FILENO, "plain: note: TCP_CONGESTION cubic: %s; using reno\n", strerror(errno));
    set(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4, "TCP_CONGESTION reno");
}

/* A socket as both ends need it before listen and connect; what comes later no longer reaches the first window. */
static int new_socket(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket failed: %s", strerror(errno));
    set_congestion(fd);
    set(fd, SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof sndbuf, "SO_SNDBUF");
    set(fd, SOL_SOCKET, SO_RCVBUF, &rcvbuf, sizeof rcvbuf, "SO_RCVBUF");
    set_timeouts(fd);
    return fd;
}

static void connect_all(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 2 * clients + 16) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int listener = new_socket();
    if (bind(listener, (struct sockaddr *)&at, len) < 0 || listen(listener, 16) < 0 ||
        getsockname(listener, (struct sockaddr *)&at, &len) < 0)
        die("listening on loopback failed: %s", strerror(errno));
    for (size_t i = 0; i < clients; i++) {
        struct pair *p = &pairs[i];
        p->index = i;
        p->client_fd = new_socket();
        if (connect(p->client_fd, (struct sockaddr *)&at, len) < 0)
            die("connecting client %zu failed: %s", i, strerror(errno));
        p->server_fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (p->server_fd < 0)
            die("accepting client %zu failed: %s", i, strerror(errno));
        set_timeouts(p->server_fd);
        int on = 1;
        if (path == ZEROCOPY)
            set(p->server_fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on, "SO_ZEROCOPY");
    }
    close(listener);
}

static void start_threads(void)
{
    running = 2 * clients;
    for (size_t i = 0; i < clients; i++) {
        pthread_t t;
        atomic_init(&pairs[i].end, UINT64_MAX);
        if (pthread_create(&t, NULL, serve, &pairs[i]) || pthread_detach(t) ||
            pthread_create(&t, NULL, consume, &pairs[i]) || pthread_detach(t))
            die("starting the threads of connection %zu failed", i);
    }
}

/* ---- control ---- */

static void wait_for_all(void)
{
    pthread_mutex_lock(&lock);
    while (running > 0)
        pthread_cond_wait(&all_done, &lock);
    pthread_mutex_unlock(&lock);
}

static uint64_t sum_received(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < clients; i++)
        sum += atomic_load_explicit(&pairs[i].received, memory_order_relaxed);
    return sum;
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_us(long us)
{
    struct timespec t = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR)
        ;
}

static void take_turn(long ms)
{
    atomic_store(&stop.flag, 0);
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < clients; i++) {
        atomic_store(&pairs[i].end, UINT64_MAX);
        pairs[i].before = atomic_load(&pairs[i].received);
    }
    running = 2 * clients;
    turn++;
    pthread_cond_broadcast(&turn_begins);
    pthread_mutex_unlock(&lock);

    sleep_us(ms * 100);
    /* A window opens when every client has received something, as copycost's does: threads that wait for a CPU would be in it. */
    for (size_t i = 0; i < clients; i++)
        while (atomic_load_explicit(&pairs[i].received, memory_order_relaxed) == pairs[i].before)
            sleep_us(100);
    uint64_t began = now_ns(), before = sum_received();
    sleep_us(ms * 1000);
    uint64_t ended = now_ns(), after = sum_received();
    atomic_store(&stop.flag, 1);
    wait_for_all();

    uint64_t sends = 0, copied = 0;
    for (size_t i = 0; i < clients; i++) {
        sends += pairs[i].sends;
        copied += pairs[i].copied;
    }
    printf("%ju %ju %ju %ju\n", (uintmax_t)(after - before), (uintmax_t)(ended - began), (uintmax_t)sends,
           (uintmax_t)copied);
    if (fflush(stdout) != 0)
        die("writing the answer failed: %s", strerror(errno));
}

static long number(const char *text, const char *name, long low, long high)
{
    char *end;
    errno = 0;
    long n = strtol(text, &end, 10);
    if (errno || end == text || *end || n < low || n > high)
        die("%s must be a number from %ld to %ld, not '%s'", name, low, high, text);
    return n;
}

static int choice(const char *text, const char *name, const char *const words[3])
{
    for (int i = 0; i < 3; i++)
        if (strcmp(text, words[i]) == 0)
            return i;
    die("%s must be %s, %s or %s, not '%s'", name, words[0], words[1], words[2], text);
}

static void parse(char **argv)
{
    static const char *const paths[] = { "twocopy", "onecopy", "zerocopy" };
    static const char *const placements[] = { "paired", "split", "free" };
    path = (enum path)choice(argv[1], "PATH", paths);
    size = (size_t)number(argv[2], "SIZE", FIELDS, 1 << 30);
    clients = (size_t)number(argv[3], "CLIENTS", 1, 1024);
    sndbuf = (int)number(argv[4], "SNDBUF", 1, INT32_MAX / 2);
    rcvbuf = (int)number(argv[5], "RCVBUF", 1, INT32_MAX / 2);
    placement = (enum placement)choice(argv[6], "PLACEMENT", placements);
    reap_bytes = (size_t)number(argv[7], "REAP_BYTES", 0, INT64_MAX);
    char *list = argv[8], *word;
    while ((word = strsep(&list, ","))) {
        if (ncpus == CPU_SETSIZE)
            die("CPUS names more than %d CPUs", CPU_SETSIZE);
        cpus[ncpus++] = (int)number(word, "each of CPUS", 0, CPU_SETSIZE - 1);
    }
    size_t field = 0, end = 0;
    for (list = argv[9]; (word = strsep(&list, ",")); field++) {
        if (field == FIELDS)
            die("FIELDS names more than %d fields", FIELDS);
        begins[field] = (size_t)number(word, "each of FIELDS", (long)end, 1L << 31);
        end = begins[field] + length_of(field);
    }
    if (field != FIELDS)
        die("FIELDS names %zu fields, not %d", field, FIELDS);
    receive_offset = (size_t)number(argv[10], "RECEIVE_OFFSET", 0, PAGE - 1);
}

int main(int argc, char **argv)
{
    if (argc != 11)
        die("usage: plain PATH SIZE CLIENTS SNDBUF RCVBUF PLACEMENT REAP_BYTES CPUS FIELDS RECEIVE_OFFSET");
    parse(argv);
    signal(SIGALRM, on_alarm);
    alarm(WATCHDOG_S);
    pairs = aligned_alloc(LINE, clients * sizeof *pairs);
    if (!pairs)
        die("no memory for %zu connections", clients);
    memset(pairs, 0, clients * sizeof *pairs);
    connect_all();
    start_threads();
    wait_for_all();

    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        alarm(WATCHDOG_S);
        line[strcspn(line, "\n")] = 0;
        if (strncmp(line, "turn ", 5) != 0)
            die("the command must be 'turn MS', not '%s'", line);
        take_turn(number(line + 5, "MS", 1, MAX_TURN_MS));
    }
    if (ferror(stdin))
        die("reading the command failed: %s", strerror(errno));
    return 0;
}
