//! The examples run as they stand, because they are there to be copied.

#[path = "../../examples/adaptive_server.rs"]
#[allow(dead_code, reason = "its main is what is tested")]
mod adaptive_server;

#[path = "../../examples/zero_copy_server.rs"]
#[allow(dead_code, reason = "its main is what is tested")]
mod zero_copy_server;

#[test]
fn the_adaptive_server_serves_every_size_intact() {
    crate::common::within("adaptive_server", adaptive_server::main).unwrap();
}

#[test]
fn the_zero_copy_server_gets_its_buffers_back() {
    crate::common::within("zero_copy_server", zero_copy_server::main).unwrap();
}
