//! An XDP program of two instructions, `return XDP_PASS`, in the ELF file that `ip link set … xdp obj` takes: no
//! compiler for BPF is needed.

/// BPF: `r0 = 2` (XDP_PASS), `exit`.
const PROGRAM: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
const LICENSE: &[u8] = b"GPL\0";
const SECTION_NAMES: &[u8] = b"\0xdp\0license\0.symtab\0.strtab\0.shstrtab\0";
const SYMBOL_NAMES: &[u8] = b"\0pass\0_license\0";

const HEADER: usize = 64;
const SECTION: usize = 64;
const SYMBOL: usize = 24;

/// A relocatable ELF file for the machine BPF, little endian, with the program in the section `xdp`.
pub fn pass() -> Vec<u8> {
    let symbols =
        [symbol(0, 0, 0, 0), symbol(1, 0x12, 1, PROGRAM.len()), symbol(6, 0x11, 2, LICENSE.len())].concat();
    let parts: [&[u8]; 5] = [&PROGRAM, LICENSE, &symbols, SYMBOL_NAMES, SECTION_NAMES];
    let mut offsets = Vec::new();
    let mut body: Vec<u8> = Vec::new();
    for part in parts {
        body.resize(body.len().next_multiple_of(8), 0);
        offsets.push(HEADER + body.len());
        body.extend_from_slice(part);
    }
    body.resize(body.len().next_multiple_of(8), 0);
    // Type 1: bytes of the program, 2: symbols, 3: names. Flags 2: loaded, 4: executable, 1: writable.
    let sections = [
        section(0, 0, 0, 0, 0, (0, 0), 0),
        section(1, 1, 6, offsets[0], PROGRAM.len(), (0, 0), 0),
        section(5, 1, 3, offsets[1], LICENSE.len(), (0, 0), 0),
        section(13, 2, 0, offsets[2], symbols.len(), (4, 1), SYMBOL),
        section(21, 3, 0, offsets[3], SYMBOL_NAMES.len(), (0, 0), 0),
        section(29, 3, 0, offsets[4], SECTION_NAMES.len(), (0, 0), 0),
    ]
    .concat();
    [header(HEADER + body.len()), body, sections].concat()
}

fn header(section_table: usize) -> Vec<u8> {
    // 64 bit, little endian, version 1; relocatable (1), machine BPF (247).
    let mut bytes = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    bytes.extend(1u16.to_le_bytes());
    bytes.extend(247u16.to_le_bytes());
    bytes.extend(1u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend((section_table as u64).to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    for half in [HEADER as u16, 0, 0, SECTION as u16, 6, 5] {
        bytes.extend(half.to_le_bytes());
    }
    bytes
}

fn section(
    name: u32,
    kind: u32,
    flags: u64,
    offset: usize,
    size: usize,
    (link, info): (u32, u32),
    entry: usize,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(name.to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    for word in [flags, 0, offset as u64, size as u64] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(link.to_le_bytes());
    bytes.extend(info.to_le_bytes());
    for word in [8, entry as u64] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}

fn symbol(name: u32, info: u8, section: u16, size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(name.to_le_bytes());
    bytes.extend([info, 0]);
    bytes.extend(section.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend((size as u64).to_le_bytes());
    bytes
}
