//! rtnetlink(7): the interfaces and the queueing disciplines of this network namespace.
//!
//! /sys/class/net shows the namespace that mounted /sys, which is another one after `unshare -n` and in some
//! containers. A netlink socket belongs to the namespace of the calling thread.

use std::io::{self, Read as _};

use socket2::{Domain, Protocol, Socket, Type};

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its number.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The largest packet that is split late, in bytes; `None` if the kernel does not report it.
    pub gso_max_size: Option<u32>,
    /// The most segments of such a packet.
    pub gso_max_segs: Option<u32>,
    /// The largest packet into which received segments are joined, in bytes.
    pub gro_max_size: Option<u32>,
}

/// A queueing discipline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Qdisc {
    /// The interface's number.
    pub index: u32,
    /// Its name: `noqueue`, `fq_codel`, `tbf`.
    pub kind: String,
    /// How it changes the rate or the timing of packets; `None` if it only queues.
    pub shaping: Option<String>,
}

/// All interfaces.
///
/// The errors of socket(2), send(2) and recv(2), and EIO for an invalid answer.
pub fn interfaces() -> io::Result<Vec<Interface>> {
    all(RTM_GETLINK, SIZE_OF_IFINFOMSG, RTM_NEWLINK, interface)
}

/// All queueing disciplines, including nested ones.
///
/// # Errors
/// As for [`interfaces`].
pub fn qdiscs() -> io::Result<Vec<Qdisc>> {
    all(RTM_GETQDISC, SIZE_OF_TCMSG, RTM_NEWQDISC, qdisc)
}

// include/uapi/linux/rtnetlink.h, netlink.h
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
const NETLINK_ROUTE: i32 = 0;
/// struct nlmsghdr: length, type, flags, sequence, port.
const HEADER: usize = 16;
/// struct tcmsg: family and padding, interface, handle, parent, info.
const SIZE_OF_TCMSG: usize = 20;
/// The kernel fills at most 32 KiB at a time (netlink_dump, net/netlink/af_netlink.c).
const ANSWER: usize = 64 << 10;

/// struct ifinfomsg: family and padding, type, interface, flags, change.
const SIZE_OF_IFINFOMSG: usize = 16;

/// Reads every answer of the type `wanted` with `read`.
fn all<T>(request: u16, body: usize, wanted: u16, read: fn(&[u8]) -> Option<T>) -> io::Result<Vec<T>> {
    let mut found = Vec::new();
    dump(request, body, &mut |kind, message| {
        if kind == wanted {
            found.extend(read(message));
        }
    })?;
    Ok(found)
}

/// Requests all objects of a kind and passes each message's type and content to `take`.
fn dump(request: u16, body: usize, take: &mut dyn FnMut(u16, &[u8])) -> io::Result<()> {
    let mut socket =
        Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(Protocol::from(NETLINK_ROUTE)))?;
    let mut message = vec![0; HEADER + body];
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&request.to_ne_bytes());
    message[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    socket.send(&message)?;
    let mut answer = vec![0; ANSWER];
    loop {
        let read = socket.read(&mut answer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = &answer[..read];
        while let Some((kind, content, after)) = next_message(rest) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => {
                    let code =
                        number(content.get(..4)).map_or(libc::EIO, |code| (code as i32).wrapping_neg());
                    return Err(io::Error::from_raw_os_error(code));
                }
                kind => take(kind, content),
            }
            rest = after;
        }
    }
}

/// The type and the content of the first message, and the bytes after it.
fn next_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = number(bytes.get(..4))? as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let content = bytes.get(HEADER..length)?;
    Some((kind, content, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes of a message. struct rtattr is a length and a type of 16 bits each, then the value.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & !NLA_F_NESTED;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

const NLA_F_NESTED: u16 = 1 << 15;

fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn number(bytes: Option<&[u8]>) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes?.get(..4)?.try_into().ok()?))
}

fn long(bytes: Option<&[u8]>) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes?.get(..8)?.try_into().ok()?))
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    let bytes = bytes?.split(|byte| *byte == 0).next()?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

fn interface(message: &[u8]) -> Option<Interface> {
    // include/uapi/linux/if_link.h
    const IFLA_IFNAME: u16 = 3;
    const IFLA_MTU: u16 = 4;
    const IFLA_GSO_MAX_SEGS: u16 = 40;
    const IFLA_GSO_MAX_SIZE: u16 = 41;
    const IFLA_GRO_MAX_SIZE: u16 = 58;
    let rest = message.get(SIZE_OF_IFINFOMSG..)?;
    let of = |kind| number(attribute(rest, kind));
    Some(Interface {
        index: number(message.get(4..8))?,
        name: text(attribute(rest, IFLA_IFNAME))?,
        up: number(message.get(8..12))? & libc::IFF_UP as u32 != 0,
        mtu: of(IFLA_MTU)?,
        gso_max_size: of(IFLA_GSO_MAX_SIZE),
        gso_max_segs: of(IFLA_GSO_MAX_SEGS),
        gro_max_size: of(IFLA_GRO_MAX_SIZE),
    })
}

fn qdisc(message: &[u8]) -> Option<Qdisc> {
    const TCA_KIND: u16 = 1;
    const TCA_OPTIONS: u16 = 2;
    let rest = message.get(SIZE_OF_TCMSG..)?;
    let kind = text(attribute(rest, TCA_KIND))?;
    let shaping = shaping(&kind, attribute(rest, TCA_OPTIONS).unwrap_or_default());
    Some(Qdisc { index: number(message.get(4..8))?, kind, shaping })
}

/// How a discipline of this kind changes rate and timing, from its options (include/uapi/linux/pkt_sched.h).
fn shaping(kind: &str, options: &[u8]) -> Option<String> {
    match kind {
        "tbf" => {
            const TCA_TBF_PARMS: u16 = 1;
            const TCA_TBF_RATE64: u16 = 4;
            // struct tc_ratespec is the head of struct tc_tbf_qopt; its rate is the last 4 of its 12 bytes.
            let narrow = attribute(options, TCA_TBF_PARMS).and_then(|parms| number(parms.get(8..12)));
            let rate = long(attribute(options, TCA_TBF_RATE64)).or(narrow.map(u64::from));
            Some(rate.map_or_else(|| "limits the rate".to_owned(), |rate| format!("at most {rate} B/s")))
        }
        "cake" => {
            const TCA_CAKE_BASE_RATE64: u16 = 2;
            let rate = long(attribute(options, TCA_CAKE_BASE_RATE64)).filter(|rate| *rate > 0)?;
            Some(format!("at most {rate} B/s"))
        }
        "fq" => {
            const TCA_FQ_FLOW_MAX_RATE: u16 = 7;
            let rate = number(attribute(options, TCA_FQ_FLOW_MAX_RATE)).filter(|rate| *rate != u32::MAX)?;
            Some(format!("at most {rate} B/s for each flow"))
        }
        "netem" => Some(netem(options)),
        "htb" | "hfsc" | "cbq" => Some("its classes have rate limits".to_owned()),
        "cbs" | "etf" | "taprio" | "plug" => Some("packets wait for their scheduled time".to_owned()),
        _ => None,
    }
}

fn netem(options: &[u8]) -> String {
    const TCA_NETEM_RATE: u16 = 6;
    const TCA_NETEM_LATENCY64: u16 = 10;
    // struct tc_netem_qopt: latency in ticks, limit, loss as a share of 2^32, gap, duplicates, jitter.
    const QOPT: usize = 24;
    let rest = options.get(QOPT..).unwrap_or_default();
    let delay = long(attribute(rest, TCA_NETEM_LATENCY64)).filter(|ns| *ns > 0);
    let loss = number(options.get(8..12)).filter(|share| *share > 0);
    let rate = number(attribute(rest, TCA_NETEM_RATE)).filter(|rate| *rate > 0);
    let parts = [
        delay.map(|ns| format!("delays by {} ms", ns as f64 / 1e6)),
        loss.map(|share| format!("loses {:.2} %", 100.0 * f64::from(share) / f64::from(u32::MAX))),
        rate.map(|rate| format!("at most {rate} B/s")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "changes packets or their order".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute_of(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::from(((4 + value.len()) as u16).to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn loopback_is_listed_with_its_mtu() {
        let all = interfaces().unwrap();
        let lo = all.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(lo.mtu >= 68, "{lo:?}");
        assert!(qdiscs().unwrap().iter().all(|qdisc| !qdisc.kind.is_empty()));
    }

    #[test]
    fn rates_and_delays_are_read_and_plain_queues_have_none() {
        let tbf = attribute_of(1, &[&[0; 8][..], &125_000_000u32.to_ne_bytes(), &[0; 24]].concat());
        assert_eq!(shaping("tbf", &tbf).unwrap(), "at most 125000000 B/s");
        let fast = [tbf, attribute_of(4, &12_500_000_000u64.to_ne_bytes())].concat();
        assert_eq!(shaping("tbf", &fast).unwrap(), "at most 12500000000 B/s");
        let loss = (u32::MAX / 100).to_ne_bytes();
        let mut netem = [[0; 8].as_slice(), &loss, &[0; 12]].concat();
        netem.extend(attribute_of(10, &5_000_000u64.to_ne_bytes()));
        assert_eq!(shaping("netem", &netem).unwrap(), "delays by 5 ms, loses 1.00 %");
        assert_eq!(shaping("netem", &[]).unwrap(), "changes packets or their order");
        let cake = |rate: u64| shaping("cake", &attribute_of(2, &rate.to_ne_bytes()));
        assert_eq!((cake(0), cake(9).as_deref()), (None, Some("at most 9 B/s")));
        let fq = |rate: u32| shaping("fq", &attribute_of(7, &rate.to_ne_bytes()));
        assert_eq!((fq(u32::MAX), fq(9).as_deref()), (None, Some("at most 9 B/s for each flow")));
        for plain in ["noqueue", "fq_codel", "pfifo_fast", "mq", "ingress"] {
            assert_eq!(shaping(plain, &[]), None);
        }
        assert!(shaping("htb", &[]).is_some());
    }

    #[test]
    fn invalid_answers_are_ignored() {
        for bytes in [&[][..], &[1], &[255; 64], &[0; 64]] {
            assert!(next_message(bytes).is_none_or(|(_, content, _)| content.len() <= bytes.len()));
            assert!(attributes(bytes).count() <= 1 && interface(bytes).is_none());
            assert_eq!(qdisc(bytes), None);
        }
    }
}
