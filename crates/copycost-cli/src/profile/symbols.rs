//! Names of kernel addresses, from `/proc/kallsyms`.

use super::source::SampleSource;
use copycost::cost::{Measured, Missing};

/// The kernel's functions by their addresses.
#[derive(Debug, Default)]
pub struct Symbols {
    /// Addresses and names, by ascending address.
    functions: Vec<(u64, String)>,
}

impl Symbols {
    /// Reads the symbols of `source`.
    ///
    /// # Errors
    /// [`Missing::SymbolsHidden`] if every address is zero, [`Missing::File`] if the file cannot be read.
    pub fn read(source: &dyn SampleSource) -> Measured<Self> {
        let text = source.kallsyms().map_err(|error| Missing::file("/proc/kallsyms", error))?;
        let symbols = Self::parse(&text);
        if symbols.functions.is_empty() {
            let (kptr_restrict, paranoid) = (source.kptr_restrict(), source.paranoid());
            return Err(Missing::SymbolsHidden { kptr_restrict, paranoid });
        }
        Ok(symbols)
    }

    /// Parses lines such as `ffffffff81000000 T _stext` and `ffffffffc0000000 t veth_xmit [veth]`. Lines with a hidden
    /// address, which is zero, are skipped.
    pub fn parse(text: &str) -> Self {
        let mut all: Vec<_> = text.lines().filter_map(function).collect();
        // If an address has several names, prefer the one that callers use: global, without a prefix, short.
        all.sort_by_key(|(address, kind, name)| {
            (*address, *kind != "T", name.starts_with("__pi_"), name.len())
        });
        all.dedup_by_key(|function| function.0);
        Self { functions: all.into_iter().map(|(address, _, name)| (address, name.to_owned())).collect() }
    }

    /// The name of the function that contains `address`; `None` below the first function.
    pub fn name(&self, address: u64) -> Option<&str> {
        let after = self.functions.partition_point(|function| function.0 <= address);
        after.checked_sub(1).map(|at| self.functions[at].1.as_str())
    }
}

fn function(line: &str) -> Option<(u64, &str, &str)> {
    let mut fields = line.split_ascii_whitespace();
    let (address, kind, name) = (fields.next()?, fields.next()?, fields.next()?);
    let address = u64::from_str_radix(address, 16).ok().filter(|address| *address != 0)?;
    matches!(kind, "t" | "T" | "w" | "W").then(|| (address, kind, plain(name)))
}

/// The name without the compiler's suffix for a clone: `finish_task_switch.isra.0` becomes `finish_task_switch`.
fn plain(name: &str) -> &str {
    match name.find('.') {
        Some(at) if at > 0 => &name[..at],
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_address_lies_in_the_function_that_begins_before_it() {
        let text = "ffff0010 t inner.isra.0\nffff0020 T outer\nffff0020 t __pi_outer\nffff0018 d data\n\
                    c0000000 t veth_xmit\t[veth]\n0 T hidden\nnonsense\n";
        let symbols = Symbols::parse(text);
        for (address, name) in [
            (0x1, None),
            (0xc000_0000, Some("veth_xmit")),
            (0xffff_0010, Some("inner")),
            (0xffff_001f, Some("inner")),
            (0xffff_0020, Some("outer")),
            (u64::MAX, Some("outer")),
        ] {
            assert_eq!(symbols.name(address), name, "{address:x}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".*", address: u64) {
            let _ = Symbols::parse(&text).name(address);
        }
    }
}
