//! The C library of this program. Its memcpy(3) and its allocator affect measurements.

/// Its name and, if known, its version: `glibc 2.36`, `musl`.
pub fn version() -> String {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: the function takes no argument and returns a NUL-terminated string in the library's
        // read-only data, which is never freed or changed.
        let text = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
        format!("glibc {}", text.to_string_lossy())
    }
    #[cfg(not(target_env = "gnu"))]
    {
        if cfg!(target_env = "musl") { "musl".to_owned() } else { "unknown".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_has_a_name() {
        let version = super::version();
        assert!(version.starts_with("glibc 2.") || version == "musl", "{version}");
    }
}
