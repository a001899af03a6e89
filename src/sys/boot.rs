//! /proc/sys/kernel/random/boot_id: identifies a running kernel in all namespaces and containers.

use std::fs;

/// A random number that the kernel made at boot, in the kernel's format; `None` if /proc does not show it.
pub fn id() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}
