//! Tests with a reader of FAT12, written from the specification.

use super::{CLUSTERS_MAX, File, image};

/// What a reader finds in an image.
pub struct Volume {
    pub label: String,
    pub files: Vec<(String, Vec<u8>)>,
}

/// Reads `image`, and checks that nothing in it contradicts the rest.
pub fn read(image: &[u8]) -> Volume {
    let word = |bytes: &[u8], at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    assert_eq!(image[510..512], [0x55, 0xaa]);
    assert!(image[0] == 0xeb && image[2] == 0x90, "a short jump");
    assert_eq!([image[36], image[37], image[38]], [0x80, 0, 0x29], "an extended boot record");
    let sector = word(image, 11);
    let cluster_bytes = sector * usize::from(image[13]);
    let (reserved, tables, root_entries) = (word(image, 14), usize::from(image[16]), word(image, 17));
    let (sectors, table_sectors) = (word(image, 19), word(image, 22));
    assert_eq!((sector, sectors * sector), (512, image.len()));
    assert_eq!(root_entries * 32 % sector, 0);
    let root_at = (reserved + tables * table_sectors) * sector;
    let data_at = root_at + root_entries * 32;
    let clusters = (image.len() - data_at) / cluster_bytes;
    assert!(clusters < 4085, "{clusters} clusters are not FAT12");
    assert!((clusters + 2) * 12 <= table_sectors * sector * 8, "the table has an entry for each cluster");

    let table = &image[reserved * sector..][..table_sectors * sector];
    for copy in 1..tables {
        assert_eq!(table, &image[(reserved + copy * table_sectors) * sector..][..table.len()]);
    }
    let entry = |cluster: usize| {
        let pair = word(table, cluster + cluster / 2);
        if cluster.is_multiple_of(2) { pair & 0xfff } else { pair >> 4 }
    };
    assert_eq!(entry(0), 0xf00 | usize::from(image[21]));
    assert_eq!(entry(1), 0xfff);

    let mut volume = Volume { label: String::new(), files: Vec::new() };
    let mut is_used = vec![false; clusters + 2];
    let mut long_name: Option<(u8, String)> = None;
    for slot in image[root_at..data_at].chunks(32).take_while(|slot| slot[0] != 0) {
        if slot[11] == 0x0f {
            assert_eq!((slot[0], slot[12], word(slot, 26)), (0x41, 0, 0), "the only entry of a name");
            let places = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
            let units: Vec<u16> = places.map(|at| word(slot, at) as u16).into();
            let length = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
            assert!(units.iter().skip(length + 1).all(|unit| *unit == 0xffff), "{units:x?}");
            long_name = Some((slot[13], String::from_utf16(&units[..length]).unwrap()));
            continue;
        }
        for at in [16, 18, 24] {
            let (day, month) = (word(slot, at) & 31, word(slot, at) >> 5 & 15);
            assert!((1..=31).contains(&day) && (1..=12).contains(&month), "a date");
        }
        if slot[11] & 0x08 != 0 {
            assert_eq!(slot[..11], image[43..54], "the label is that of the boot sector");
            volume.label = String::from_utf8(slot[..11].to_vec()).unwrap().trim_end().to_owned();
            continue;
        }
        let (checksum, name) = long_name.take().expect("a long name is before each short one");
        let sum = |sum: u8, byte: &u8| ((sum & 1) << 7).wrapping_add(sum >> 1).wrapping_add(*byte);
        assert_eq!(slot[..11].iter().fold(0, sum), checksum, "{name}");
        let bytes = u32::from_le_bytes(slot[28..32].try_into().unwrap()) as usize;
        let (mut cluster, mut content) = (word(slot, 26), Vec::new());
        assert_eq!(cluster == 0, bytes == 0, "only an empty file has no cluster");
        while cluster != 0 && cluster < 0xff8 {
            assert!(!std::mem::replace(&mut is_used[cluster], true), "cluster {cluster} is used twice");
            content.extend(&image[data_at + (cluster - 2) * cluster_bytes..][..cluster_bytes]);
            cluster = entry(cluster);
        }
        assert_eq!(content.len().div_ceil(cluster_bytes), bytes.div_ceil(cluster_bytes), "{name}");
        content.truncate(bytes);
        volume.files.push((name, content));
    }
    assert!(long_name.is_none());
    for (cluster, is_used) in is_used.iter().enumerate().skip(2) {
        assert_eq!(*is_used, entry(cluster) != 0, "cluster {cluster}");
    }
    volume
}

/// `length` bytes that differ from cluster to cluster.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at / 509 + at % 251 + 1) as u8).collect()
}

#[test]
fn files_of_all_sizes_are_read_as_written() {
    let all = CLUSTERS_MAX * 512;
    let minimum = 256 << 10;
    // The files' bytes, and those of the image.
    let cases: [(&[usize], usize); 12] = [
        (&[], minimum),
        (&[0], minimum),
        (&[1, 0, 511], minimum),
        (&[512, 513], minimum),
        (&[1024, 1023, 1025], minimum),
        (&[1, 2, 3, 4, 5, 6, 7], minimum),
        (&[505 * 512, 512], minimum),
        (&[506 * 512, 1], minimum + 512),
        // One sector of each table is for 341 clusters.
        (&[680 * 512], (680 + 6) * 512),
        (&[681 * 512], (681 + 8) * 512),
        (&[1 << 20, 1 << 19], (3072 + 2 + 20) * 512),
        (&[all - 1024, 1000], (4084 + 2 + 24) * 512),
    ];
    for (sizes, image_bytes) in cases {
        let contents: Vec<_> = sizes.iter().map(|size| bytes(*size)).collect();
        let files: Vec<_> =
            contents.iter().map(|content| File { name: "f", short_name: b"F          ", content }).collect();
        let image = image(b"SOME LABEL ", &files).unwrap();
        let volume = read(&image);
        assert_eq!(volume.label, "SOME LABEL");
        let read: Vec<_> = volume.files.into_iter().map(|(_, content)| content).collect();
        assert!(read == contents, "{sizes:?}");
        assert_eq!(image.len(), image_bytes, "{sizes:?}");
    }
}

#[test]
fn files_that_are_too_large_have_no_image() {
    for sizes in [vec![CLUSTERS_MAX * 512 + 1], vec![(CLUSTERS_MAX - 1) * 512, 1, 1]] {
        let contents: Vec<_> = sizes.iter().map(|size| bytes(*size)).collect();
        let files: Vec<_> =
            contents.iter().map(|content| File { name: "f", short_name: b"F          ", content }).collect();
        assert!(image(b"LABEL      ", &files).is_none(), "{sizes:?}");
    }
}

#[test]
fn names_of_up_to_13_characters_are_read_as_written() {
    for name in ["a", "user-data", "twelve chars", "13 characters"] {
        let file = File { name, short_name: b"NAME~1  TXT", content: b"content" };
        assert_eq!(
            read(&image(b"LABEL      ", &[file]).unwrap()).files,
            [(name.to_owned(), b"content".to_vec())]
        );
    }
}
