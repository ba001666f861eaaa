//! The paths of the web page.

use crate::assets::{self, Asset};
use crate::model::WebResource;

/// What is at a path of the page.
pub(super) enum PagePath {
    /// A file.
    Asset(&'static Asset),
    /// What the page reads.
    Resource(WebResource),
}

impl PagePath {
    /// What is at `path`; `None` if it does not belong to the page.
    pub(super) fn parse(path: &str) -> Option<PagePath> {
        let resource = WebResource::of_path(path).map(PagePath::Resource);
        resource.or_else(|| assets::at_path(path).map(PagePath::Asset))
    }
}
