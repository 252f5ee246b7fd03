use std::io;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Outcome};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  skein completion bash > ~/.local/share/bash-completion/completions/skein
  skein completion zsh > ~/.zfunc/_skein
  skein completion fish > ~/.config/fish/completions/skein.fish")]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "skein", &mut script);
    Ok(io::Write::write_all(&mut io::stdout(), &script)?)
}
