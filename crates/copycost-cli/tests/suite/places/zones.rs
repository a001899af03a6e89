//! Link-local addresses, which are no addresses without the interface that they belong to.

use super::namespace::pair;
use crate::program::Program;

#[test]
fn a_link_local_address_is_served_measured_and_received_from_with_its_zone() {
    let Some((there, here)) = pair("fe80::a/64", "fe80::b/64") else { return };
    // Named at one end, numbered at the other.
    let serve = |more: &[&str]| {
        let bind = ["--bind", "fe80::a%veth", "--insecure-open"];
        Program::serve_in(&there.wrapper(), &[&bind[..], more].concat())
    };
    let (server, address) = serve(&[]);
    let number = address.to_string();
    assert!(number.starts_with("[fe80::a%"), "{number}");
    let cell = ["-p", "onecopy", "-s", "4KiB", "--seconds", "0.1"];
    here.run(&[&["run", "--over", "[fe80::a%veth]:9000"], &cell[..]].concat()).good();
    here.run(&["run", "--over", "[fe80::a]:9000"]).refused(2, &["--over", "fe80::a", "needs a zone"]);
    here.run(&["run", "--over", "[fe80::a%nosuch]:9000"]).refused(2, &["no interface 'nosuch'"]);
    let found = here.run(&["doctor", "--over", "[fe80::a%veth]:9000", "--format", "json"]).out;
    assert!(found.contains("is reached over veth"), "{found}");
    server.stop().good();
    let (server, _) = serve(&["--raw", "onecopy"]);
    here.run(&["client", "[fe80::a%veth]:9000", "0.1"]).good();
    here.run(&["client", "[fe80::a]:9000", "0.1"]).refused(2, &["needs a zone"]);
    server.stop().good();
}

#[test]
fn what_is_wrong_with_an_address_to_listen_on_is_one_sentence() {
    for (bind, says) in [
        ("fe80::1", "is a link-local address and needs a zone"),
        ("fe80::1%no-such-if", "there is no interface 'no-such-if' here"),
        ("127.0.0.1%lo", "only IPv6 addresses have zones"),
        ("elsewhere", "is not an IP address"),
    ] {
        Program::run(&["serve", "--bind", bind]).refused(2, &["--bind", says]);
    }
}
