//! The files of the web page: `build.rs` packs them from `assets/`.

use crate::limits;

/// A file that the page loads.
#[derive(PartialEq, Eq)]
pub struct Asset {
    /// Its name in `assets/`.
    pub name: &'static str,
    /// Its path, which has a hash of the content.
    pub path: &'static str,
    /// Its media type.
    pub content_type: &'static str,
    /// Its content, compressed with gzip.
    pub packed: &'static [u8],
}

/// The page itself, which names its files; HTML.
pub const SHELL: &str = include_str!(concat!(env!("OUT_DIR"), "/index.html"));

const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

/// The file at `path`.
pub fn at_path(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// The path of the file `name`; empty if there is none.
pub fn path_of(name: &str) -> &'static str {
    ASSETS.iter().find(|asset| asset.name == name).map_or("", |asset| asset.path)
}

impl std::fmt::Debug for Asset {
    /// Leaves out the content.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.path)
    }
}

/// The bytes of a first load.
const fn bytes() -> usize {
    let (mut bytes, mut index) = (SHELL.len(), 0);
    while index < ASSETS.len() {
        bytes += ASSETS[index].packed.len();
        index += 1;
    }
    bytes
}

const _: () = assert!(bytes() <= limits::PAGE_ASSETS_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_files_that_exist() {
        let assets = SHELL.split('"').filter(|text| text.starts_with("/ui/") && text.contains('.'));
        for path in assets.clone() {
            assert!(at_path(path).is_some(), "{path}");
        }
        assert!(assets.count() > 1, "{SHELL}");
        assert!(!SHELL.contains("{{"), "{SHELL}");
        assert!(!path_of("page.css").is_empty());
        assert_eq!((at_path("/ui/page.css"), path_of("none")), (None, ""));
    }
}
