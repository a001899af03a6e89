//! The C library that this program runs with: its memcpy(3) and its allocator decide figures.

/// Its name and, where it tells one, its version: `glibc 2.36`, `musl`.
pub fn version() -> String {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: the function takes nothing and returns a string with an end that lies in the library's read-only data and is
        // never freed nor changed.
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
