//! Finds cycles of imports between the modules of a folder. A folder inside it counts as one module.
//!
//! Reads the files as text: the module tree from the `mod` lines, the imports from `use` statements and from paths that
//! begin with `crate`, `super` or `self`. A name that a module re-exports counts as an import from the module that
//! defines it. What modules import from the file that declares them (`mod.rs`), and it from them, is not looked at.

use std::collections::{BTreeMap, BTreeSet};

/// The modules of one crate. The first is the crate's root.
pub struct Modules {
    all: Vec<Module>,
}

struct Module {
    /// From the crate's root on; empty for the root.
    path: Vec<String>,
    /// The folder of the modules that it declares.
    folder: String,
    code: String,
    /// The names that its `use` statements bring in, with their paths, and the paths that end in `*`.
    names: BTreeMap<String, Path>,
    globs: Vec<Path>,
    /// All paths that its code names.
    paths: Vec<Path>,
}

type Path = Vec<String>;

/// Imports within a folder that lead back to their beginning.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cycle {
    pub folder: String,
    /// Each imports the next, and the last one the first.
    pub modules: Vec<String>,
}

impl Modules {
    /// The crate whose root is the file at `root`; `read` gives the code at a path, without comments, if there is such
    /// a file.
    pub fn of_crate(root: &str, read: &impl Fn(&str) -> Option<String>) -> Modules {
        let mut modules = Modules { all: Vec::new() };
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        modules.add(Vec::new(), root, folder.to_owned(), read);
        modules
    }

    fn add(&mut self, path: Path, file: &str, folder: String, read: &impl Fn(&str) -> Option<String>) {
        let Some(code) = read(file) else { return };
        let declared = declared_modules(&code);
        self.all.push(Module::new(path.clone(), folder.clone(), code));
        let beside = file.rsplit_once('/').map_or("", |(beside, _)| beside);
        for (name, at) in declared {
            let path = below(&path, &name);
            let file = match at {
                Some(at) => without_dots(&format!("{beside}/{at}")),
                None if read(&format!("{folder}/{name}.rs")).is_some() => format!("{folder}/{name}.rs"),
                None => format!("{folder}/{name}/mod.rs"),
            };
            let folder = file.strip_suffix("/mod.rs").or(file.strip_suffix(".rs")).unwrap_or(&file);
            self.add(path, &file, folder.to_owned(), read);
        }
    }

    /// One cycle for each group of modules that depend on each other.
    pub fn cycles(&self) -> Vec<Cycle> {
        let mut imports: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        let mut folders = BTreeSet::new();
        for module in &self.all {
            for path in &module.paths {
                let Some(imported) = self.resolve(module, path, 0) else { continue };
                let common = module.path.iter().zip(&imported.path).take_while(|(own, other)| own == other);
                let common = common.count();
                if let (Some(own), Some(other)) = (module.path.get(common), imported.path.get(common)) {
                    let parent = self.find(&module.path[..common]).expect("a parent has been read");
                    imports.entry((&parent.folder, own)).or_default().insert(other);
                    folders.insert(&parent.folder);
                }
            }
        }
        let mut cycles = Vec::new();
        for folder in folders {
            let edges = |module| imports.get(&(folder.as_str(), module)).into_iter().flatten().copied();
            let modules = imports.keys().filter(|(of, _)| of == folder).map(|(_, module)| *module);
            for modules in shortest_cycles(modules, edges) {
                let modules = modules.into_iter().map(str::to_owned).collect();
                cycles.push(Cycle { folder: folder.clone(), modules });
            }
        }
        cycles
    }

    fn find(&self, path: &[String]) -> Option<&Module> {
        self.all.iter().find(|module| module.path == path)
    }

    /// The module that defines what `path` names in `module`; none for what other crates define.
    fn resolve<'a>(&'a self, module: &'a Module, path: &[String], depth: usize) -> Option<&'a Module> {
        let (first, mut rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" => self.all.first()?,
            "self" => module,
            "super" => self.find(module.path.split_last()?.1)?,
            _ => {
                rest = path;
                module
            }
        };
        let mut is_inside = at.path != module.path || rest.len() < path.len();
        while let Some((name, remaining)) = rest.split_first() {
            if name == "super" {
                at = self.find(at.path.split_last()?.1)?;
            } else if let Some(child) = self.find(&below(&at.path, name)) {
                at = child;
            } else if depth < RE_EXPORTS_MAX
                && let Some(origin) = self.resolve_name(at, name, depth)
            {
                at = origin;
                if at.path.last() != Some(name) {
                    // An item; what follows is inside it.
                    return Some(at);
                }
            } else {
                return is_inside.then_some(at);
            }
            is_inside = true;
            rest = remaining;
        }
        Some(at)
    }

    /// The module from which `name` has come into `module` by a `use` statement.
    fn resolve_name<'a>(&'a self, module: &'a Module, name: &str, depth: usize) -> Option<&'a Module> {
        if module.defines(name) {
            return None;
        }
        if let Some(path) = module.names.get(name)
            && path.first().is_none_or(|first| first != name)
        {
            return self.resolve(module, path, depth + 1);
        }
        let mut origins = module.globs.iter().filter_map(|path| self.resolve(module, path, depth + 1));
        origins.find(|origin| origin.defines(name))
    }
}

impl Module {
    fn new(path: Path, folder: String, code: String) -> Module {
        let (mut names, mut globs) = (BTreeMap::new(), Vec::new());
        let (uses, mut paths) = paths_of(&code);
        for Use { path, name } in uses {
            match name.as_str() {
                "*" => globs.push(path.clone()),
                _ => drop(names.insert(name, path.clone())),
            }
            paths.push(path);
        }
        Module { path, folder, code, names, globs, paths }
    }

    fn defines(&self, name: &str) -> bool {
        let keywords = ["struct", "enum", "fn", "const", "static", "type", "trait", "union", "macro_rules!"];
        self.code.match_indices(name).any(|(at, _)| {
            let before = self.code[..at].trim_end();
            let after = self.code[at + name.len()..].chars().next();
            keywords.iter().any(|keyword| before.ends_with(keyword))
                && before.len() < at
                && after.is_none_or(|c| !is_part_of_name(c))
        })
    }
}

/// What a `use` statement brings in.
#[derive(Debug, PartialEq)]
struct Use {
    path: Path,
    /// `*` for all names of the module at `path`.
    name: String,
}

/// The names in `mod name;` lines, with the values of their `path` attributes.
fn declared_modules(code: &str) -> Vec<(String, Option<String>)> {
    let (mut found, mut at) = (Vec::new(), None);
    for line in code.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            at = rest.split_once('"').map(|(path, _)| path.to_owned());
        } else if !line.starts_with("#[") {
            let declaration = line.strip_suffix(';').and_then(|line| {
                let (visibility, name) = line.rsplit_once("mod ")?;
                (visibility.is_empty() || visibility.starts_with("pub")).then_some(name)
            });
            if let Some(name) = declaration {
                found.push((name.to_owned(), at.take()));
            }
            at = None;
        }
    }
    found
}

/// The `use` statements of `code`, and the paths elsewhere that begin with `crate`, `super` or `self`.
fn paths_of(code: &str) -> (Vec<Use>, Vec<Path>) {
    let (mut uses, mut elsewhere) = (Vec::new(), String::new());
    let mut rest = code;
    while let Some(line) = rest.split_inclusive('\n').next() {
        let statement = line.trim_start();
        let statement = match statement.strip_prefix("pub") {
            Some(visible) => visible.trim_start_matches(|c| !" \n".contains(c)).trim_start(),
            None => statement,
        };
        if statement.starts_with("use ") {
            let begin = rest.find("use ").expect("the line has it") + "use ".len();
            let end = rest[begin..].find(';').map_or(rest.len(), |length| begin + length);
            expand(&[], &rest[begin..end], &mut uses);
            rest = &rest[end..];
        } else {
            elsewhere += line;
            rest = &rest[line.len()..];
        }
    }
    let mut paths = Vec::new();
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in elsewhere.match_indices(start) {
            let before = elsewhere[..at].chars().next_back();
            if before.is_none_or(|c| !is_part_of_name(c) && c != ':') {
                let path =
                    elsewhere[at..].split(|c| !is_part_of_name(c) && c != ':').next().unwrap_or_default();
                paths.push(path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect());
            }
        }
    }
    (uses, paths)
}

/// Adds what the tree of paths `tree` below `prefix` brings in.
fn expand(prefix: &[String], tree: &str, uses: &mut Vec<Use>) {
    let tree = tree.trim();
    if let Some((path, group)) = tree.split_once('{') {
        let mut prefix = prefix.to_vec();
        prefix.extend(path.split("::").map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        let (mut depth, mut begin) = (0, 0);
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&prefix, &group[begin..at], uses);
                    begin = at + 1;
                }
                _ => {}
            }
        }
        expand(&prefix, &group[begin..], uses);
    } else if !tree.is_empty() {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
        let mut path: Path = prefix.iter().cloned().chain(path.split("::").map(str::to_owned)).collect();
        if path.last().is_some_and(|last| last == "*" || last == "self" && path.len() > 1) {
            let is_glob = path.pop().as_deref() == Some("*");
            let name = if is_glob { "*".to_owned() } else { path.last().cloned().unwrap_or_default() };
            uses.push(Use { name: alias.map_or(name, str::to_owned), path });
        } else {
            let name = alias.map_or_else(|| path.last().cloned().unwrap_or_default(), str::to_owned);
            uses.push(Use { path, name });
        }
    }
}

/// For each node that no earlier cycle has, the shortest cycle through it.
fn shortest_cycles<'a, I: Iterator<Item = &'a str>>(
    nodes: impl Iterator<Item = &'a str>,
    edges: impl Fn(&'a str) -> I,
) -> Vec<Vec<&'a str>> {
    let mut cycles: Vec<Vec<&str>> = Vec::new();
    for start in nodes {
        if cycles.iter().flatten().any(|node| *node == start) {
            continue;
        }
        let mut reached_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            for next in edges(node) {
                if !reached_from.contains_key(next) {
                    reached_from.insert(next, node);
                    queue.push_back(next);
                }
            }
        }
        if let Some(last) = reached_from.get(start) {
            let mut cycle = vec![*last];
            while cycle.last() != Some(&start) {
                cycle.push(reached_from[cycle.last().expect("it has one")]);
            }
            cycle.reverse();
            cycles.push(cycle);
        }
    }
    cycles
}

/// The path of the module `name` in the module at `path`.
fn below(path: &[String], name: &str) -> Path {
    path.iter().map(String::as_str).chain([name]).map(str::to_owned).collect()
}

fn is_part_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// `path` without its `..`.
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// How often a name may be passed on.
const RE_EXPORTS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn cycles(files: &[(&str, &str)]) -> Vec<String> {
        let read = |path: &str| files.iter().find(|(at, _)| *at == path).map(|(_, code)| code.to_string());
        let cycles = Modules::of_crate("src/lib.rs", &read).cycles();
        cycles.iter().map(|cycle| format!("{}: {}", cycle.folder, cycle.modules.join(" "))).collect()
    }

    #[test]
    fn finds_two_modules_that_import_each_other() {
        let root = ("src/lib.rs", "mod a;\npub(crate) mod b;\nmod c;\n");
        let (a, b) = (("src/a.rs", "use super::b::B;\n"), ("src/b.rs", "use crate::{c, a::{A, Other}};\n"));
        assert_eq!(cycles(&[root, a, b, ("src/c.rs", "fn c() {}\n")]), ["src: a b"]);
        assert_eq!(cycles(&[root, a, ("src/b.rs", "use crate::c;\n"), ("src/c.rs", "")]), [""; 0]);
    }

    #[test]
    fn finds_a_cycle_over_several_modules_and_folders() {
        let files = [
            ("src/lib.rs", "mod x;\n"),
            ("src/x/mod.rs", "mod a;\nmod b;\nmod c;\n"),
            ("src/x/a/mod.rs", "mod inner;\n"),
            ("src/x/a/inner.rs", "fn f() { super::super::b::g(); }\n"),
            ("src/x/b.rs", "pub fn g() { crate::x::c::h() }\n"),
            ("src/x/c.rs", "use super::a;\n"),
        ];
        assert_eq!(cycles(&files), ["src/x: a b c"]);
    }

    #[test]
    fn follows_re_exports_to_the_module_that_defines_the_item() {
        let b = ("src/b.rs", "use super::A;\npub struct B;\n");
        let a = |code| ("src/a.rs", code);
        let by_name = ("src/lib.rs", "mod a;\nmod b;\npub use a::A;\nuse b::*;\n");
        assert_eq!(cycles(&[by_name, a("use crate::B;\npub struct A;\n"), b]), ["src: a b"]);
        assert_eq!(cycles(&[by_name, a("use crate::C;\npub struct A;\n"), b]), [""; 0]);
        let renamed = ("src/lib.rs", "mod a;\nmod b;\nuse a::X as A;\nuse b::B;\n");
        assert_eq!(cycles(&[renamed, a("fn f(_: super::B) {}\n"), b]), ["src: a b"]);
    }

    #[test]
    fn allows_items_of_the_parent_and_children() {
        let root = ("src/lib.rs", "mod a;\nmod b;\nuse a::A;\npub struct Shared;\n");
        let a = ("src/a.rs", "use super::Shared;\nuse std::super_fast::b;\npub struct A;\n");
        let b = ("src/b.rs", "use super::{Shared, a::A};\n");
        assert_eq!(cycles(&[root, a, b]), [""; 0]);
    }

    #[test]
    fn follows_path_attributes() {
        let files = [
            ("src/lib.rs", "#[path = \"../common/mod.rs\"]\nmod common;\n#[cfg(unix)]\nmod user;\n"),
            ("common/mod.rs", "mod one;\nmod two;\n"),
            ("common/one.rs", "use super::two::Two;\n"),
            ("common/two.rs", "use crate::common::one::{\n    self,\n    One,\n};\n"),
            ("src/user.rs", "use crate::common::one::One;\n"),
        ];
        assert_eq!(cycles(&files), ["common: one two"]);
    }
}
