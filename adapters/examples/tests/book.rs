//! What the documents say of the code: the tests they name exist, the files they link to are there, and
//! what others offer has its line.

use std::fs;
use std::path::{Path, PathBuf};

const SECURITY: &str = ".github/SECURITY.md";
const CONTRIBUTING: &str = ".github/CONTRIBUTING.md";

/// Documents that are not rustdoc's, which looks after its own links.
const LINKING: [&str; 6] = [
    "README.md",
    "CHANGELOG.md",
    "adapters/server/README.md",
    "tests/README.md",
    SECURITY,
    CONTRIBUTING,
];

#[test]
fn each_test_that_a_document_names_exists() {
    let mut count = 0;
    for page in [SECURITY, COMING_FROM] {
        for (file, name) in named_tests(&read(page)) {
            let source = fs::read_to_string(root().join(&file))
                .unwrap_or_else(|error| panic!("{page} names {file}: {error}"));
            assert!(has_test(&file, &source, &name), "{page}: there is no {name} in {file}");
            count += 1;
        }
    }
    assert!(count > 150, "only {count} tests were found: has the way of naming them changed?");
}

#[test]
fn each_file_that_a_document_links_to_is_there() {
    for page in LINKING {
        let dir = root().join(page).parent().expect("a file").to_owned();
        for target in targets(&read(page)) {
            if !target.contains("://") && !target.starts_with('#') {
                let file = target.split('#').next().unwrap_or_default();
                assert!(dir.join(file).exists(), "{page} links to {target}");
            }
        }
    }
}

#[test]
fn no_program_in_a_document_is_left_out_of_the_tests() {
    let mut fences = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let is_readme = page == root().join("README.md");
        for fence in text.lines().filter_map(|line| line.strip_prefix("```")) {
            fences += 1;
            let tested = match fence {
                // Begins one that rustdoc runs, or ends one.
                "" | "rust" => true,
                // A drawing.
                "text" => true,
                // `.ci/run newcomer` compiles these two as they stand; in_axum.rs is the same program.
                "rust,no_run" | "toml" => is_readme,
                // tests/interop/readme.test.js types these; the rest is about this repository.
                "js" => is_readme,
                "sh" => {
                    is_readme || page.ends_with("server/README.md") || page.ends_with(CONTRIBUTING)
                }
                _ => false,
            };
            assert!(tested, "{}: ```{fence}", page.display());
        }
    }
    assert!(fences > 20, "only {fences} fences were found");
}

/// All documents, and the texts that rustdoc shows.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = LINKING.iter().map(|page| root().join(page)).collect();
    for dir in ["src/docs", "adapters/net/src/docs"] {
        let entries = fs::read_dir(root().join(dir)).expect("a directory");
        pages.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    pages
}

const COMING_FROM: &str = "adapters/net/src/docs/coming_from.md";

/// The public items of ypy-websocket 0.12.4, module by module, and what pycrdt-websocket 0.16.5 and
/// pycrdt-store 0.1.5 have added.
const THEIRS: &[&str] = &[
    // websocket
    "path",
    "__aiter__",
    "__anext__",
    "send",
    "recv",
    // websocket_server
    "WebsocketServer",
    "rooms_ready",
    "auto_clean_rooms",
    "log",
    "rooms",
    "started",
    "get_room",
    "start_room",
    "get_room_name",
    "rename_room",
    "delete_room",
    "serve",
    "async with",
    "start",
    "stop",
    // yroom
    "YRoom",
    "ydoc",
    "awareness",
    "clients",
    "ystore",
    "ready",
    "on_message",
    // websocket_provider
    "WebsocketProvider",
    // ystore
    "YDocNotFound",
    "BaseYStore",
    "metadata_callback",
    "version",
    "write",
    "read",
    "get_metadata",
    "encode_state_as_update",
    "apply_updates",
    "FileYStore",
    "check_version",
    "TempFileYStore",
    "prefix_dir",
    "base_dir",
    "get_base_dir",
    "make_directory",
    "SQLiteYStore",
    "db_path",
    "document_ttl",
    "db_initialized",
    // yutils
    "YMessageType",
    "YSyncMessageType",
    "write_var_uint",
    "create_message",
    "create_sync_step1_message",
    "create_sync_step2_message",
    "create_update_message",
    "read_message",
    "Decoder",
    "read_var_uint",
    "read_messages",
    "read_var_string",
    "put_updates",
    "process_sync_message",
    "sync",
    "get_new_path",
    // awareness
    "Awareness",
    "client_id",
    "meta",
    "states",
    "get_changes",
    // asgi_server
    "ASGIWebsocket",
    "ASGIServer",
    "on_connect",
    "on_disconnect",
    // django_channels_consumer
    "YjsConsumer",
    "make_room_name",
    "make_ydoc",
    "connect",
    "disconnect",
    "receive",
    "send_message",
    "group_send_message",
    // the successor
    "exception_handler",
    "exception_logger",
    "on_message_error",
    "provider_factory",
    "ready_event",
    "ydoc_observed",
    "running",
    "Channel",
    "HttpxWebsocket",
    "synced",
    "squash_after_inactivity_of",
    "squash_history_older_than",
    "squash_no_more_often_than",
    "checkpoint_interval",
    "cleanup_when_db_size_above",
    "register_compression_callbacks",
    "auto_vacuum",
];

#[test]
fn each_item_of_theirs_has_a_line_and_each_line_a_test_or_the_word_missing() {
    let page = read(COMING_FROM);
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    for item in THEIRS {
        let first =
            |row: &&&str| row.split('|').nth(1).is_some_and(|cell| words(cell).contains(item));
        assert!(rows.iter().any(|row| first(&row)), "there is no line for {item}");
    }
    for row in rows {
        let tested = !named_tests(row).is_empty();
        assert!(tested || row.contains("**missing**"), "neither a test nor missing: {row}");
    }
}

#[test]
fn the_program_in_the_readme_is_the_one_that_is_tested() {
    let (program, readme) = (read("adapters/examples/src/bin/in_axum.rs"), read("README.md"));
    let code = &program[program.find("use axum").expect("its first line")..];
    assert!(readme.contains(code), "README.md shows another program than in_axum.rs");
}

/// What stands in code font in a table's cell, without arguments.
fn words(cell: &str) -> Vec<&str> {
    let code = cell.split('`').skip(1).step_by(2);
    code.map(|code| code.split('(').next().unwrap_or_default()).collect()
}

/// All `file::test` in code font.
fn named_tests(text: &str) -> Vec<(String, String)> {
    let code = text.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::"));
    code.filter(|(file, _)| is(file, "rs") || is(file, "js"))
        .map(|(file, name)| (file.to_owned(), name.to_owned()))
        .collect()
}

fn is(file: &str, extension: &str) -> bool {
    Path::new(file).extension().is_some_and(|found| found == extension)
}

/// Whether there is a test of that name; in Rust, one that says it is a test, or that a suite lists.
fn has_test(file: &str, source: &str, name: &str) -> bool {
    if is(file, "js") {
        return source.contains(name);
    }
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let is_it = |line: &&str| line.starts_with(&format!("fn {name}("));
    let plain = lines.iter().position(is_it).is_some_and(|at| {
        let mut attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        attributes.any(|attribute| *attribute == "#[test]")
    });
    let generic = lines.iter().any(|line| line.starts_with(&format!("fn {name}<R: Runtime>(")));
    plain || (generic && lines.contains(&"suite! {") && lines.contains(&name))
}

/// What is linked to by `[…](…)`.
fn targets(text: &str) -> Vec<String> {
    let ends = text.split("](").skip(1);
    ends.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

fn read(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
