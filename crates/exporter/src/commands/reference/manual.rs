//! Manual pages and shell completions of a program, made of its command line. Their paths are those below the
//! prefix of an installation, so that `generate man -o /usr/local` installs them.

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use thresholds::File;

/// The shells, and the file in which each looks for the completions of a program; `{}` is its name.
pub const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "share/bash-completion/completions/{}"),
    (Shell::Fish, "share/fish/vendor_completions.d/{}.fish"),
    (Shell::Zsh, "share/zsh/site-functions/_{}"),
];

/// A page for the program and one for each of its commands.
pub fn pages(program: &Command) -> Vec<File> {
    let mut program = program.clone().disable_help_subcommand(true);
    program.build();
    let mut pages = Vec::new();
    collect(&program, &mut pages);
    pages
}

fn collect(command: &Command, pages: &mut Vec<File>) {
    let page = Man::new(command.clone());
    let mut text = Vec::new();
    page.render(&mut text).expect("a vector takes everything");
    let text = String::from_utf8(text).expect("made of text");
    pages.push((format!("share/man/man1/{}", page.get_filename()), text));
    command.get_subcommands().for_each(|command| collect(command, pages));
}

/// The completions for these shells, or for every shell when none is named.
pub fn completions(program: &Command, shells: &[Shell]) -> Vec<File> {
    let name = program.get_name();
    let wanted = |shell| shells.is_empty() || shells.contains(shell);
    let wanted = SHELLS.iter().filter(|(shell, _)| wanted(shell));
    let completions = wanted.map(|(shell, path)| {
        let mut text = Vec::new();
        clap_complete::generate(*shell, &mut program.clone(), name, &mut text);
        let text = String::from_utf8(text).expect("made of text");
        (path.replace("{}", name), text)
    });
    completions.collect()
}
