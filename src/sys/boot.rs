//! /proc/sys/kernel/random/boot_id: one kernel since its boot, whatever namespaces and containers see of it.

use std::fs;

/// A random number that the running kernel made at its boot, as it spells it; `None` where /proc does not show it.
pub fn id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}
