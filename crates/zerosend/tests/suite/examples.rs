//! The examples run as they stand, because they are there to be copied.

#[path = "../../examples/reused_buffers.rs"]
#[allow(dead_code, reason = "its main reads the arguments of this process")]
mod reused_buffers;

#[test]
fn buffers_come_back_and_hold_what_they_should() {
    reused_buffers::run(None).unwrap();
}
