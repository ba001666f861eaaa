//! The table of VMs as HTML, for browsers without JavaScript.

use std::io::Write;

use crate::assets;
use crate::clock::{HttpDate, UnixSeconds};
use crate::dialect::page_progress::PageProgress;
use crate::model::{Items, Page, Vm, VmPresence, VmState, VmTable};

/// Writes one page of the table: the head with the first, the link to the rest with the last.
pub(super) fn write_page(table: &VmTable, page: &Page, progress: &mut PageProgress, output: &mut Vec<u8>) {
    if progress.begin() {
        write_head(table, output);
    }
    match &page.items {
        Items::ObservedVms(vms) => vms.iter().for_each(|(vm, presence)| write_row(vm, presence, output)),
        other => debug_assert!(false, "{other:?} are no VMs"),
    }
    if page.next.is_none() {
        write_tail(table, output);
    }
}

fn write_head(table: &VmTable, output: &mut Vec<u8>) {
    let (style, icon) = (assets::path_of("page.css"), assets::path_of("icon.svg"));
    write(
        output,
        format_args!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>VMs · vmherd</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"{icon}\">\n\
         <link rel=\"stylesheet\" href=\"{style}\">\n</head>\n\
         <body class=\"plain\">\n<main>\n<h1>VMs</h1>\n<form action=\"/ui/vms\">\n\
         <label>Name <input name=\"filter\" value=\"{}\"></label>\n<label>State <select name=\"state\">\n\
         <option value=\"\">any</option>\n",
            Html(&table.filter)
        ),
    );
    for state in VmState::ALL {
        let selected = if table.state == Some(state) { " selected" } else { "" };
        write(output, format_args!("<option{selected}>{}</option>\n", state.name()));
    }
    output.extend_from_slice(
        b"</select></label>\n<button>Show</button>\n</form>\n<table>\n<thead><tr><th scope=\"col\">Name</th>\
          <th scope=\"col\">Id</th><th scope=\"col\">State</th><th scope=\"col\">Since</th>\
          <th scope=\"col\">RAM</th><th scope=\"col\">CPUs</th><th scope=\"col\">Disks</th></tr></thead>\n<tbody>\n",
    );
}

fn write_row(vm: &Vm, presence: &VmPresence, output: &mut Vec<u8>) {
    let state = presence.state().name();
    write(
        output,
        format_args!(
            "<tr><th scope=\"row\"><bdi>{}</bdi></th><td>{}</td><td class=\"{state}\">{state}</td><td>",
            Html(vm.name.as_str()),
            vm.id.0
        ),
    );
    match presence.connected_since.or(presence.last_seen) {
        Some(UnixSeconds(since)) => output.extend_from_slice(HttpDate::new(UnixSeconds(since)).value()),
        None => output.extend_from_slice(b"never seen"),
    }
    let size_gib: u128 = vm.disks.iter().map(|disk| u128::from(disk.size_gib)).sum();
    let disks = match vm.disks.len() {
        0 => String::new(),
        count => format!("{count}: {size_gib} GiB"),
    };
    write(
        output,
        format_args!(
            "</td><td>{} MiB</td><td>{}</td><td>{disks}</td></tr>\n",
            vm.shape.ram_mib, vm.shape.cpus
        ),
    );
}

fn write_tail(table: &VmTable, output: &mut Vec<u8>) {
    output.extend_from_slice(b"</tbody>\n</table>\n");
    if let Some(last) = table.full_at {
        let state = table.state.map_or("", VmState::name);
        write(
            output,
            format_args!(
                "<p><a rel=\"next\" href=\"/ui/vms?after={}&amp;filter={}&amp;state={state}\">More</a></p>\n",
                last.0,
                Percent(&table.filter)
            ),
        );
    }
    output.extend_from_slice(b"</main>\n</body>\n</html>\n");
}

fn write(output: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    output.write_fmt(text).expect("a Vec takes whatever is written");
}

/// A text as content or as a quoted value of an attribute.
struct Html<'a>(&'a str);

impl std::fmt::Display for Html<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.split_inclusive(['&', '<', '>', '"', '\'']).try_for_each(|part| {
            let Some(last) = part.chars().next_back() else { return Ok(()) };
            let escaped = match last {
                '&' => "&amp;",
                '<' => "&lt;",
                '>' => "&gt;",
                '"' => "&quot;",
                '\'' => "&#39;",
                _ => return f.write_str(part),
            };
            f.write_str(&part[..part.len() - 1])?;
            f.write_str(escaped)
        })
    }
}

/// A text as the value of a parameter.
struct Percent<'a>(&'a str);

impl std::fmt::Display for Percent<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                write!(f, "{}", byte as char)
            }
            byte => write!(f, "%{byte:02X}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_leave_their_place() {
        for (text, html, percent) in [
            ("web-1", "web-1", "web-1"),
            ("<b>\"'&amp;", "&lt;b&gt;&quot;&#39;&amp;amp;", "%3Cb%3E%22%27%26amp%3B"),
            ("é\u{202e}&", "é\u{202e}&amp;", "%C3%A9%E2%80%AE%26"),
            ("", "", ""),
        ] {
            assert_eq!(Html(text).to_string(), html);
            assert_eq!(Percent(text).to_string(), percent);
        }
    }
}
