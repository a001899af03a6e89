//! Enums of plain words: flags, tables and records use the same ones.

/// Gives an enum `ALL`, Display and FromStr, so that flags, tables and records use the same words.
#[doc(hidden)]
#[macro_export]
macro_rules! named_enum {
    ($name:ident: $($variant:ident = $text:literal),+) => {
        impl $name {
            /// Every variant.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
            /// Their names, in the same order.
            pub const NAMES: &[&'static str] = &[$($text),+];
        }
        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(match self { $(Self::$variant => $text),+ })
            }
        }
        impl ::std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(format!("'{text}' is not one of {}", [$($text),+].join(", "))),
                }
            }
        }
    };
}
#[doc(hidden)]
pub use named_enum;
