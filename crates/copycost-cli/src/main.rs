//! The command `copycost`; all of it is in the library's `cli`.

fn main() -> std::process::ExitCode {
    copycost_cli::cli::main()
}
