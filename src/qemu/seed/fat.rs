//! FAT12 file systems, by Microsoft's "FAT32 File System Specification", version 1.03: a boot sector, two copies of the
//! allocation table, the root directory, and clusters of one sector with the files, one after the other.

const SECTOR_BYTES: usize = 512;
const ENTRY_BYTES: usize = 32;
/// Entries of the root directory: one sector.
const ROOT_ENTRIES: usize = SECTOR_BYTES / ENTRY_BYTES;
/// Clusters of an image of 256 KiB.
const CLUSTERS_MIN: usize = 506;
/// A file system with more clusters is FAT16.
const CLUSTERS_MAX: usize = 4084;
/// The number of the first cluster.
const FIRST_CLUSTER: usize = 2;
/// The entry of the last cluster of a file.
const END_OF_CHAIN: u16 = 0xfff;
/// The medium is not removable.
const MEDIA: u8 = 0xf8;
/// Attributes of entries.
const READ_ONLY: u8 = 0x01;
const LABEL: u8 = 0x08;
const LONG_NAME: u8 = 0x0f;
/// Any, as no guest has two seeds.
const SERIAL_NUMBER: u32 = 0x1980_0101;
/// 1 January 1980, the first day.
const DATE: u16 = 0x0021;

/// A file in the root directory.
pub struct File<'a> {
    /// Its name: at most 13 characters of ASCII, which fit into one entry.
    pub name: &'a str,
    /// Its name where long names are unknown: eight and three characters of upper case, padded with spaces.
    pub short_name: &'a [u8; 11],
    /// What it contains.
    pub content: &'a [u8],
}

/// The image of a file system with `files`, at most seven; `None` if they are too large for FAT12.
pub fn image(label: &[u8; 11], files: &[File<'_>]) -> Option<Vec<u8>> {
    let used: usize = files.iter().map(File::clusters).sum();
    let clusters = used.max(CLUSTERS_MIN);
    if clusters > CLUSTERS_MAX {
        return None;
    }
    let table_bytes = table_bytes(FIRST_CLUSTER + clusters).next_multiple_of(SECTOR_BYTES);
    let sectors = 1 + 2 * (table_bytes / SECTOR_BYTES) + 1 + clusters;
    let mut image = vec![0; sectors * SECTOR_BYTES];
    let (boot_sector, rest) = image.split_at_mut(SECTOR_BYTES);
    let (table, rest) = rest.split_at_mut(table_bytes);
    let (table_copy, rest) = rest.split_at_mut(table_bytes);
    let (root, data) = rest.split_at_mut(SECTOR_BYTES);
    fill_boot_sector(boot_sector, label, sectors as u16, (table_bytes / SECTOR_BYTES) as u16);
    set_entry(table, 0, 0xf00 | u16::from(MEDIA));
    set_entry(table, 1, END_OF_CHAIN);
    let mut entries = root.chunks_exact_mut(ENTRY_BYTES);
    let mut add = |entry: [u8; ENTRY_BYTES]| entries.next().map(|place| place.copy_from_slice(&entry));
    add(short_entry(label, LABEL, 0, 0));
    let mut cluster = FIRST_CLUSTER;
    for file in files {
        let start = (cluster - FIRST_CLUSTER) * SECTOR_BYTES;
        data[start..start + file.content.len()].copy_from_slice(file.content);
        let first = if file.content.is_empty() { 0 } else { cluster };
        add(long_name_entry(file));
        add(short_entry(file.short_name, READ_ONLY, first as u16, file.content.len() as u32));
        for left in (0..file.clusters()).rev() {
            let next = if left == 0 { END_OF_CHAIN } else { cluster as u16 + 1 };
            set_entry(table, cluster, next);
            cluster += 1;
        }
    }
    table_copy.copy_from_slice(table);
    Some(image)
}

impl File<'_> {
    fn clusters(&self) -> usize {
        self.content.len().div_ceil(SECTOR_BYTES)
    }
}

/// Bytes of an allocation table with so many entries of 12 bits.
fn table_bytes(entries: usize) -> usize {
    (entries * 3).div_ceil(2)
}

/// Sets an entry of an allocation table, which is still zero.
fn set_entry(table: &mut [u8], cluster: usize, value: u16) {
    let at = cluster * 3 / 2;
    let [low, high] = (value << (4 * (cluster % 2))).to_le_bytes();
    table[at] |= low;
    table[at + 1] |= high;
}

fn fill_boot_sector(sector: &mut [u8], label: &[u8; 11], sectors: u16, table_sectors: u16) {
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    // A jump to code, which there is none of, and the name that the specification recommends.
    put(0, b"\xeb\x3c\x90MSWIN4.1");
    put(11, &(SECTOR_BYTES as u16).to_le_bytes());
    // Sectors per cluster, reserved sectors, allocation tables.
    put(13, &[1, 1, 0, 2]);
    put(17, &(ROOT_ENTRIES as u16).to_le_bytes());
    put(19, &sectors.to_le_bytes());
    put(21, &[MEDIA]);
    put(22, &table_sectors.to_le_bytes());
    // Sectors per track and heads: any.
    put(24, &[32, 0, 2, 0]);
    // A hard disk; label and serial number follow.
    put(36, &[0x80, 0, 0x29]);
    put(39, &SERIAL_NUMBER.to_le_bytes());
    put(43, label);
    put(54, b"FAT12   ");
    put(510, &[0x55, 0xaa]);
}

fn short_entry(name: &[u8; 11], attributes: u8, first_cluster: u16, bytes: u32) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    entry[..11].copy_from_slice(name);
    entry[11] = attributes;
    // The days of creation, of the last access and of the last change.
    for at in [16, 18, 24] {
        entry[at..at + 2].copy_from_slice(&DATE.to_le_bytes());
    }
    entry[26..28].copy_from_slice(&first_cluster.to_le_bytes());
    entry[28..].copy_from_slice(&bytes.to_le_bytes());
    entry
}

/// The entry before the short one. It has 13 characters of two bytes; a zero ends a shorter name.
fn long_name_entry(file: &File<'_>) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    // The first entry of the name, and the last.
    entry[0] = 0x41;
    entry[11] = LONG_NAME;
    entry[13] = file.short_name.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let units = file.name.encode_utf16().chain([0]).chain(std::iter::repeat(0xffff));
    let places = (1..11).chain(14..26).chain(28..32).step_by(2);
    for (at, unit) in places.zip(units) {
        entry[at..at + 2].copy_from_slice(&unit.to_le_bytes());
    }
    entry
}

#[cfg(test)]
#[path = "fat_tests.rs"]
pub mod tests;
