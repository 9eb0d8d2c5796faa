//! The real `counterfoil` program.

use std::path::Path;
use std::process::Command;

use super::child::Program;

/// The program with nothing of this machine's environment that is ours, in a folder of its own.
pub fn counterfoil(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_counterfoil"));
    command.args(arguments).current_dir(folder);
    for (name, _) in std::env::vars_os() {
        let name_of_a_proxy = name.to_string_lossy().to_ascii_lowercase().ends_with("_proxy");
        if name.to_string_lossy().starts_with("COUNTERFOIL_") || name_of_a_proxy {
            command.env_remove(name);
        }
    }
    command
}

/// Runs it to its end: exit code, standard output, standard error.
pub fn run(mut command: Command) -> (Option<i32>, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A folder that goes with the test.
pub struct Folder(std::path::PathBuf);

impl Folder {
    pub fn new() -> Self {
        let name = format!("counterfoil-test-{}", counterfoil::secret::random_token::<9>());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running demo.
pub struct Demo {
    pub program: Program,
    pub public: String,
    _folder: Folder,
}

impl Demo {
    /// Starts it on free ports and waits until it is ready.
    pub fn start(more: &[&str]) -> Self {
        Self::start_with(more, &[])
    }

    /// The same with settings from the environment, named without the `COUNTERFOIL_` that each begins with.
    pub fn start_with(more: &[&str], settings: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let mut arguments =
            vec!["demo", "--listen", "127.0.0.1:0", "--idp-listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];
        arguments.extend(more);
        let mut command = counterfoil(folder.path(), &arguments);
        command.envs(settings.iter().map(|(name, value)| (format!("COUNTERFOIL_{name}"), value)));
        let program = Program::start(&mut command);
        let said = program.wait_for("idp=\"company\"");
        let address = |label: &str| {
            let line = said.lines().find(|line| line.trim_start().starts_with(label)).unwrap();
            line.trim_start()[label.len()..].trim().to_owned()
        };
        let public = address("open").trim_end_matches('/').to_owned();
        Self { program, public, _folder: folder }
    }
}
