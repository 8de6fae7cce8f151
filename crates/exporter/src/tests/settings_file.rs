//! The file of settings.

use std::{fs, time::Duration};

use super::command_line::{SPEC, mistake, serve_flags};
use crate::commands::{cli, config, flags::LogFormat};

/// A folder with such a file, and the flag that names it.
struct Settings {
    dir: tempfile::TempDir,
    flag: String,
}

fn settings(text: &str) -> Settings {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("settings.toml");
    fs::write(&path, text).expect("written");
    Settings { flag: format!("--config.file={}", path.display()), dir }
}

#[test]
fn a_flag_is_set_by_its_name_in_every_form_of_toml() {
    for text in [
        "interval = \"2s\"\n\"log.format\" = \"json\"\n\"web.max-requests\" = 7\n\"host.metrics\" = true\n\"web.listen-address\" = [\":1\", \":2\"]\n",
        "interval = \"2s\"\nlog.format = \"json\"\nweb.max-requests = 7\nhost.metrics = true\nweb.listen-address = \":1,:2\"\n",
        "interval = \"2s\"\n[log]\nformat = \"json\"\n[web]\nmax-requests = \"7\"\nlisten-address = [\":1\", \":2\"]\n[host]\nmetrics = \"true\"\n",
    ] {
        let settings = settings(text);
        for command in [&[][..], &["serve"]] {
            let flags = serve_flags(&[command, &[&settings.flag]].concat());
            assert_eq!(flags.sampling.interval, Duration::from_secs(2), "{text}");
            assert!(flags.log.format == LogFormat::Json && flags.sampling.host_metrics, "{text}");
            assert_eq!(flags.web.max_requests, 7, "{text}");
            let addresses: Vec<_> = flags.web.listen_addresses.iter().map(ToString::to_string).collect();
            assert_eq!(addresses, [":1", ":2"], "{text}");
            // What the command line says wins, and a list replaces a list.
            let more = ["--interval", "3s", "--web.listen-address", ":3", &settings.flag];
            let flags = serve_flags(&[command, &more].concat());
            assert_eq!((flags.sampling.interval, flags.web.max_requests), (Duration::from_secs(3), 7));
            assert_eq!(flags.web.listen_addresses.len(), 1);
        }
        drop(settings.dir);
    }
}

#[test]
fn a_mistake_names_the_line_and_how_to_write_it() {
    for (text, line, words) in [
        ("intervall = \"1s\"\n", 1, &["`intervall`", "interval"][..]),
        ("\n[web]\nlisten-adress = \":1\"\n", 3, &["`web.listen-adress`", "web.listen-address"]),
        ("interval = \"5h\"\n", 1, &["interval", "\"5h\"", "100ms to 5m"]),
        ("\n\ninterval = 5\n", 3, &["interval", "\"5\""]),
        ("interval = [\"1s\"]\n", 1, &["`interval`", "not a list"]),
        ("names = [\"mine\"]\n", 1, &["names", "unified, vendor"]),
        ("\"host.metrics\" = \"perhaps\"\n", 1, &["host.metrics", "perhaps"]),
        ("interval = \"1s\"\ninterval = \"2s\"\n", 2, &["duplicate key"]),
        ("\"log.level\" = \"info\"\n[log]\nlevel = \"warn\"\n", 3, &["`log.level` is set twice"]),
        ("interval = \n", 1, &[]),
        ("\"config.file\" = \"other.toml\"\n", 1, &["`config.file` is unknown"]),
        ("json = true\n", 1, &["`json` is unknown"]),
        ("interval = 1979-05-27\n", 1, &["interval"]),
    ] {
        let settings = settings(text);
        for command in ["serve", "probe"] {
            // What only `serve` has is known to `probe`, and not looked at.
            let of_serve =
                ["interval", "names", "host.metrics"].iter().any(|name| words.first() == Some(name));
            if command == "probe" && of_serve {
                continue;
            }
            let said = mistake(&[command, &settings.flag]);
            assert!(said.contains(&format!("settings.toml:{line}: ")), "{text}: {said}");
            assert!(words.iter().all(|word| said.contains(word)) && !said.contains('\n'), "{text}: {said}");
        }
    }
    let said = mistake(&["--config.file", "/nowhere/settings.toml"]);
    assert!(said.starts_with("/nowhere/settings.toml: ") && said.contains("--config.file"), "{said}");
}

#[test]
fn the_template_has_every_flag_once_and_sets_what_holds_anyway() {
    let program = cli::command("fake-exporter", "Fakes", &[SPEC]);
    let template = config::template(&program);
    assert!(template.lines().all(|line| line.is_empty() || line.starts_with('#')));
    let serve = program.find_subcommand("serve").expect("a command");
    for long in serve.get_arguments().filter_map(clap::Arg::get_long) {
        let times = template.lines().filter(|line| {
            let line = line.trim_start_matches('#').replace('"', "");
            line.starts_with(&format!("{long} = "))
        });
        let expected = usize::from(!["config.file", "help", "version"].contains(&long));
        assert_eq!(times.count(), expected, "{long}");
    }
    // Those without a default show what stands for the value, and are left out here.
    let set: Vec<_> = template
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with([' ', '#'])))
        .filter(|line| {
            let value = line.rsplit(" = ").next().unwrap_or_default();
            !value.trim_matches(['[', ']', '"']).bytes().all(|byte| byte.is_ascii_uppercase() || byte == b':')
        })
        .collect();
    let settings = settings(&set.join("\n"));
    let (with, without) = (serve_flags(&[&settings.flag]), serve_flags(&[]));
    assert_eq!(with.sampling.interval, without.sampling.interval);
    assert_eq!(with.web.listen_addresses, without.web.listen_addresses);
    assert_eq!(with.web.max_connections, without.web.max_connections);
    assert_eq!(with.sampling.host_metrics, without.sampling.host_metrics);
}
