//! Congestion control, taps, hooks and routes.

use copycost_cli::doctor::{LinkFacts, Offloads, Status};

use super::fixture::{Fixture, expect};

#[test]
fn bbr_as_the_default_is_a_note_because_copycost_sets_its_own() {
    let mut machine = Fixture::healthy();
    machine.write("proc/sys/net/ipv4/tcp_congestion_control", "bbr\n");
    machine.write("proc/sys/net/ipv4/tcp_available_congestion_control", "reno bbr cubic\n");
    machine.write("proc/sys/net/ipv4/tcp_allowed_congestion_control", "reno bbr\n");
    let fix = Some("sysctl -w net.ipv4.tcp_congestion_control=cubic");
    expect(&machine.only("congestion-control"), Status::Note, "copycost sets reno itself", fix);
    machine.facts.capabilities.net_admin = true;
    let fix = Some("sysctl -w net.ipv4.tcp_congestion_control=cubic");
    let finding = machine.only("congestion-control");
    expect(&finding, Status::Note, "copycost sets cubic itself", fix);
    assert_eq!(finding.effect.as_deref(), Some("Your own server inherits bbr."));
}

#[test]
fn bbr_without_an_alternative_distorts() {
    let machine = Fixture::healthy();
    machine.write("proc/sys/net/ipv4/tcp_congestion_control", "bbr\n");
    machine.write("proc/sys/net/ipv4/tcp_allowed_congestion_control", "bbr\n");
    let fix = Some("sysctl -w net.ipv4.tcp_allowed_congestion_control=\"reno cubic\"");
    expect(&machine.only("congestion-control"), Status::Distorts, "Neither cubic nor reno", fix);
    machine.write("proc/sys/net/ipv4/tcp_available_congestion_control", "bbr\n");
    expect(&machine.only("congestion-control"), Status::Distorts, "Neither", Some("modprobe tcp_cubic"));
}

#[test]
fn steering_distorts_on_the_interface_that_is_used() {
    let machine = Fixture::healthy();
    machine.write("sys/class/net/eth0/queues/rx-0/rps_cpus", "3\n");
    expect(&machine.only("packet-steering"), Status::Ready, "of lo", None);
    machine.write("sys/class/net/lo/queues/rx-0/rps_cpus", "00000000,00000003\n");
    let fix = Some("echo 0 | tee /sys/class/net/lo/queues/rx-*/rps_cpus");
    expect(&machine.only("packet-steering"), Status::Distorts, "RPS is on for lo", fix);
    machine.write("sys/class/net/lo/queues/rx-0/rps_cpus", "0\n");
    machine.write("sys/class/net/lo/queues/rx-0/rps_flow_cnt", "2048\n");
    machine.write("proc/sys/net/core/rps_sock_flow_entries", "32768\n");
    let fix = Some("echo 0 > /proc/sys/net/core/rps_sock_flow_entries");
    expect(&machine.only("packet-steering"), Status::Distorts, "RFS is on for lo", fix);
}

const PACKET: &str = "sk               RefCnt Type Proto  Iface R Rmem   User   Inode\n";

#[test]
fn a_tap_is_named_with_its_owner() {
    let machine = Fixture::healthy();
    machine.write(
        "proc/net/packet",
        &format!("{PACKET}0000000000000000 3      3    0003   0     1 0      0      4711\n"),
    );
    machine.process(812, "lldpd", 7, "socket:[4711]");
    let fix = Some("kill 812 (or stop its service while you measure)");
    expect(&machine.only("packet-taps"), Status::Distorts, "lldpd (pid 812) taps every interface", fix);
}

#[test]
fn a_tap_of_a_hidden_process_is_still_a_tap() {
    let machine = Fixture::healthy();
    machine.write(
        "proc/net/packet",
        &format!("{PACKET}0000000000000000 3      3    0003   1     1 0      0      4711\n"),
    );
    let fix = Some("ss -0 -p (names its owner), then stop it while you measure");
    expect(&machine.only("packet-taps"), Status::Distorts, "cannot see (socket inode 4711) taps lo", fix);
}

#[test]
fn a_tap_elsewhere_or_for_other_packets_is_none() {
    let machine = Fixture::healthy();
    let other_interface = "0000000000000000 3      3    0003   2     1 0      0      1\n";
    let arp_only = "0000000000000000 3      3    0806   1     1 0      0      2\n";
    machine.write("proc/net/packet", &format!("{PACKET}{other_interface}{arp_only}"));
    expect(&machine.only("packet-taps"), Status::Ready, "there are taps on other interfaces", None);
}

#[test]
fn firewall_and_tracking_are_notes() {
    let machine = Fixture::healthy();
    machine.write("proc/net/ip_tables_names", "nat\nfilter\n");
    machine.write("proc/sys/net/netfilter/nf_conntrack_count", "12\n");
    machine.write("proc/modules", "nf_tables 999 3 nft_ct, Live 0x0000000000000000\n");
    let fix = "iptables -t raw -I OUTPUT -o lo -j NOTRACK; nft list ruleset (shows the rest)";
    let told = "iptables has the tables nat, filter; 12 connections are tracked; nf_tables is loaded";
    expect(&machine.only("netfilter"), Status::Note, told, Some(fix));
}

#[test]
fn a_socket_map_distorts_loopback() {
    let machine = Fixture::healthy();
    machine.process(99, "cilium-agent", 5, "anon_inode:bpf-map");
    machine.write("proc/99/fdinfo/5", "pos:\t0\nmap_type:\t1\n");
    assert_eq!(machine.of("socket-maps").status, Status::Note);
    machine.write("proc/99/fdinfo/5", "pos:\t0\nmap_type:\t18\nkey_size:\t4\n");
    let fix = Some("measure without it: kill 99, then bpftool prog show");
    expect(&machine.only("socket-maps"), Status::Distorts, "cilium-agent (pid 99) holds", fix);
}

#[test]
fn the_longest_prefix_wins() {
    let machine = Fixture::healthy().over("10.1.2.3");
    expect(&machine.of("route"), Status::Ready, "10.1.2.3 is reached over eth0 through 192.168.1.254", None);
    expect(&machine.of("link"), Status::Ready, "eth0 is a network card (ice)", None);
    expect(&machine.of("mtu"), Status::Ready, "1500 bytes", None);
    expect(&machine.of("cpus"), Status::Ready, "for 8 threads", None);
    let machine = machine.over("10.9.0.1");
    assert_eq!(machine.of("route").status, Status::Distorts, "10.9.0.0/16 is unreachable");
}

#[test]
fn own_addresses_stay_on_loopback() {
    for address in ["192.168.1.7", "127.1.2.3", "::1", "::ffff:127.0.0.1", "0.0.0.0"] {
        let finding = Fixture::healthy().over(address).of("route");
        expect(&finding, Status::Note, "its traffic stays on lo", Some("give the address of another host"));
    }
}

#[test]
fn an_address_without_route_leaves_the_rest_reported() {
    for address in ["203.0.113.9", "2001:db8::9", "224.0.0.1"] {
        let machine = Fixture::healthy().over(address);
        let fix = format!("ip route get {address} (shows what is missing)");
        expect(&machine.of("route"), Status::Distorts, &format!("no route to {address}"), Some(&fix));
        for check in ["link", "mtu", "offloads", "packet-steering"] {
            expect(&machine.of(check), Status::Note, "there is no route", None);
        }
        assert_eq!(machine.of("congestion-control").status, Status::Ready);
    }
}

#[test]
fn ipv6_routes_are_read_too() {
    let machine = Fixture::healthy().over("2001:db8::9");
    machine.write("proc/net/ipv6_route", "\
20010db8000000000000000000000000 20 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000002 00000000 00000003     eth0
00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo
");
    expect(&machine.of("route"), Status::Ready, "2001:db8::9 is reached over eth0 through fd00::1", None);
    assert_eq!(machine.over("fd00::2").of("route").status, Status::Distorts, "the null entry is no route");
}

#[test]
fn a_device_that_cannot_gather_distorts() {
    let mut machine = Fixture::healthy().over("192.168.1.9");
    let off = Offloads { scatter_gather: false, tx_checksum: true, tso: false, gso: true, gro: true };
    machine.facts.links.insert(
        "eth0".into(),
        LinkFacts { driver: Some("ice".into()), offloads: Some(off), ..LinkFacts::default() },
    );
    expect(&machine.only("offloads"), Status::Distorts, "scatter-gather off", Some("ethtool -K eth0 sg on"));
    let off = Offloads { scatter_gather: true, ..off };
    machine.facts.links.insert(
        "eth0".into(),
        LinkFacts { driver: Some("ice".into()), offloads: Some(off), ..LinkFacts::default() },
    );
    expect(&machine.only("offloads"), Status::Note, "TSO off", Some("ethtool -K eth0 tso on"));
}

#[test]
fn virtual_interfaces_are_told() {
    let mut machine = Fixture::healthy().over("192.168.1.9");
    for (driver, told) in [("veth", "veth pair"), ("tun", "tun or tap"), ("virtio_net", "virtio card")] {
        machine.facts.links.insert(
            "eth0".into(),
            LinkFacts { driver: Some(driver.into()), offloads: None, ..LinkFacts::default() },
        );
        expect(&machine.of("link"), Status::Note, told, None);
    }
    machine.write("sys/class/net/eth0/lower_eth1", "");
    machine.facts.links.clear();
    expect(&machine.of("link"), Status::Note, "eth0 is built on eth1", None);
}
