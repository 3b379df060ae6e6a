//! The `pinhole` program: parse, call cli.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
