//! The program: everything is in `tidelock::cli`.

fn main() -> std::process::ExitCode {
    tidelock::cli::main()
}
