//! The `counterfoil` program: arguments to a command, a command to an exit code.

fn main() -> std::process::ExitCode {
    counterfoil::cli::run()
}
