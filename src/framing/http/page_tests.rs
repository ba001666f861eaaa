//! Requests for the web page and its files.

use super::HttpPage::{Asset, Links, Root, Shell};
use super::replay_tests::Found::*;
use super::replay_tests::*;
use super::*;
use crate::assets;
use crate::model::WebResource;

fn style() -> &'static assets::Asset {
    assets::at_path(assets::path_of("page.css")).expect("the page has a style")
}

#[test]
fn a_browser_gets_the_page() {
    check(&[
        (request("GET /", "Accept: text/html,*/*;q=0.8", ""), &[Page(Shell), End]),
        (request("HEAD /?x#y", "accept: a/b\nAccept: TEXT/HTML;q=0.9", ""), &[Page(Shell), End]),
        (request("GET /", "Accept: text/html, application/json5", ""), &[Page(Shell), End]),
        (request("GET /", "Accept: text/html, application/json", ""), &[Page(Links), End]),
        (request("GET /", "Accept: text/htmlx", ""), &[Page(Root), End]),
        (request("POST /", "Accept: text/html\nContent-Length: 2", "{}"), &[message("{}"), End]),
        (request("GET /", "Accept: text/html\nContent-Length: 2", "{}"), &[Page(Shell), Closed]),
        (request("GET /", "Accept: text/html\nSec-Fetch-Site: cross-site", ""), &[Ended(403)]),
    ]);
}

#[test]
fn files_are_sent_compressed_only() {
    let get = format!("GET {}", style().path);
    let head = format!("HEAD {}?x", style().path);
    let file = [Page(Asset(style())), End];
    check(&[
        (request(&get, "Accept-Encoding: gzip", ""), &file),
        (request(&head, "accept-encoding: br;q=1, GZIP ; Q=0.5", ""), &file),
        (request(&get, "Accept-Encoding: deflate\nAccept-Encoding: *", ""), &file),
        (request(&get, "", ""), &[Refused(406), End]),
        (request(&get, "Accept-Encoding: br, x-gzip", ""), &[Refused(406), End]),
        (request(&get, "Accept-Encoding: gzip;q=0", ""), &[Refused(406), End]),
        (request(&get, "Accept-Encoding: gzip; q=0.000", ""), &[Refused(406), End]),
        (request("GET /ui/page.css", "Accept-Encoding: gzip", ""), &[Refused(404), End]),
        (request("GET /ui/page.0000000000000000.css", "Accept-Encoding: gzip", ""), &[Refused(404), End]),
        (request(&format!("POST {}", style().path), "Content-Length: 2", "{}"), &[Ended(405)]),
        (request(&format!("OPTIONS {}", style().path), "", ""), &[Options("GET, HEAD, OPTIONS"), End]),
    ]);
}

#[test]
fn what_the_page_reads_is_found_by_path() {
    let vms = |query: &str| Web(WebResource::VmTable, query.into());
    check(&[
        (request("GET /ui/vms", "", ""), &[vms(""), End]),
        (request("HEAD /ui/vms?after=7&filter=%41#x?y", "", ""), &[vms("after=7&filter=%41"), End]),
        (request("GET http://localhost/ui/vms?a?b", "", ""), &[vms("a?b"), End]),
        (request("GET /ui/points?key=a", "", ""), &[Web(WebResource::Points, "key=a".into()), End]),
        (request("GET /metrics", "", ""), &[Web(WebResource::Metrics, "".into()), End]),
        (request("GET /sd/prometheus?port=1", "", ""), &[Web(WebResource::Targets, "port=1".into()), End]),
        (request("GET /ui/vms/", "", ""), &[Refused(404), End]),
        (request("GET /metrics/x", "", ""), &[Refused(404), End]),
        (request("GET /UI/vms", "", ""), &[Refused(404), End]),
        (request("GET /ui/vms", "Content-Length: 2", "{}"), &[vms(""), Closed]),
        (request("GET /ui/vms", "Origin: http://evil.example", ""), &[Ended(403)]),
        (request("POST /ui/vms", "", ""), &[Refused(405), End]),
        (request("DELETE /ui/points", "", ""), &[Refused(405), End]),
        (request("OPTIONS /ui/vms", "", ""), &[Options("GET, HEAD, OPTIONS"), End]),
    ]);
}

#[test]
fn credentials_of_a_get_are_taken_once() {
    let (mut http, mut input, mut output) = (Http::default(), Buffer::new(), Buffer::new());
    input.push(request("GET /ui/vms", "Authorization: Bearer abc", "").as_bytes());
    let event = http.next(&mut input, &mut output, BODY_BYTES_MAX.into(), &rules());
    assert_eq!(event, HttpEvent::Web(WebResource::VmTable, "".into()));
    assert!(matches!(http.take_authorization(), Authorization::Bearer(token) if token.expose() == "abc"));
    assert_eq!(http.take_authorization(), Authorization::Absent);
}
