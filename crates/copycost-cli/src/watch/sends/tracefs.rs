//! The kernel's folder of tracepoints: their numbers and the fields of their records.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Unseen;
use copycost::internals::sys::text;

/// Where tracefs is mounted.
#[derive(Debug)]
pub struct Tracefs(PathBuf);

/// A tracepoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFormat {
    /// Its number in this boot.
    pub id: u64,
    /// The offset and the size of each field of a record, in bytes.
    fields: BTreeMap<String, (usize, usize)>,
}

impl Tracefs {
    /// Finds the mount.
    ///
    /// # Errors
    /// It is not mounted.
    pub fn find() -> Result<Self, Unseen> {
        let mounts = text::read("/proc/self/mounts").map_err(|_| Unseen::NoTracefs)?;
        mounted(&mounts).map(Self).ok_or(Unseen::NoTracefs)
    }

    /// A tracepoint by its name, such as `sock/sock_send_length`.
    ///
    /// # Errors
    /// This kernel does not have it, or the folder cannot be read.
    pub fn event(&self, name: &'static str) -> Result<EventFormat, Unseen> {
        let folder = self.0.join("events").join(name);
        let read = |file: &str| {
            let path = folder.join(file);
            text::read(&path).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound if self.0.join("events").is_dir() => {
                    Unseen::NoTracepoint { name }
                }
                _ => Unseen::Unreadable { path: self.0.clone(), error: error.to_string() },
            })
        };
        let id = read("id")?;
        let format = read("format")?;
        EventFormat::parse(&id, &format).ok_or(Unseen::NoTracepoint { name })
    }
}

/// The folder of the first mount of tracefs in the text of `/proc/self/mounts`, in which blanks are written `\040`.
fn mounted(mounts: &str) -> Option<PathBuf> {
    let folder = |line: &str| {
        let mut fields = line.split(' ');
        let (_, folder, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "tracefs").then(|| PathBuf::from(folder.replace("\\040", " ")))
    };
    mounts.lines().find_map(folder)
}

impl EventFormat {
    /// Parses the files `id` and `format`.
    pub fn parse(id: &str, format: &str) -> Option<Self> {
        let id = id.trim().parse().ok()?;
        // `	field:__u16 family;	offset:16;	size:2;	signed:0;`
        let field = |line: &str| {
            let (declared, rest) = line.trim().strip_prefix("field:")?.split_once(';')?;
            let name = declared.rsplit([' ', '*']).next()?.split('[').next()?.to_owned();
            let number = |what: &str| {
                let (_, value) = rest.split_once(what)?;
                value.split(';').next()?.trim().parse::<usize>().ok()
            };
            Some((name, (number("offset:")?, number("size:")?)))
        };
        Some(Self { id, fields: format.lines().filter_map(field).collect() })
    }

    /// The value of a field in a record; `None` if there is no such field.
    pub fn field(&self, name: &str, record: &[u8]) -> Option<u64> {
        let &(offset, size) = self.fields.get(name)?;
        let bytes = record.get(offset..offset.checked_add(size)?)?;
        let mut value = [0; 8];
        let (size, little) = (bytes.len(), cfg!(target_endian = "little"));
        let place = if little { 0..size } else { 8usize.checked_sub(size)?..8 };
        value.get_mut(place)?.copy_from_slice(bytes);
        Some(u64::from_ne_bytes(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FORMAT: &str = "name: sock_send_length\nID: 2284\nformat:\n\
        \tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n\n\
        \tfield:void * sk;\toffset:8;\tsize:8;\tsigned:0;\n\
        \tfield:__u16 protocol;\toffset:18;\tsize:2;\tsigned:0;\n\
        \tfield:int ret;\toffset:20;\tsize:4;\tsigned:1;\n\
        \tfield:char name[16];\toffset:28;\tsize:16;\tsigned:0;\n";

    #[test]
    fn fields_are_read_where_the_format_says() {
        let format = EventFormat::parse("2284\n", FORMAT).unwrap();
        assert_eq!((format.id, format.fields.len()), (2284, 5));
        let mut record = vec![0u8; 28];
        record[8..16].copy_from_slice(&0xffff_8880_0000_1000u64.to_ne_bytes());
        record[18..20].copy_from_slice(&6u16.to_ne_bytes());
        record[20..24].copy_from_slice(&(-11i32).to_ne_bytes());
        assert_eq!(format.field("sk", &record), Some(0xffff_8880_0000_1000));
        assert_eq!(format.field("protocol", &record), Some(6));
        assert_eq!(format.field("ret", &record).map(|value| value as i32), Some(-11));
        assert_eq!((format.field("name", &record), format.field("flags", &record)), (None, None));
        assert_eq!(EventFormat::parse("many", FORMAT), None);
    }

    #[test]
    fn the_mount_is_found_wherever_it_is() {
        let mounts = "proc /proc proc rw 0 0\nnodev /odd\\040place tracefs rw 0 0\nnodev /b tracefs rw 0 0\n";
        assert_eq!(mounted(mounts), Some(PathBuf::from("/odd place")));
        assert_eq!(mounted("proc /proc proc rw 0 0\n"), None);
    }

    proptest! {
        #[test]
        fn any_format_is_read(id in ".{0,9}", format in ".{0,200}", record in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(parsed) = EventFormat::parse(&id, &format) {
                for name in parsed.fields.keys() {
                    let _ = parsed.field(name, &record);
                }
            }
        }
    }
}
