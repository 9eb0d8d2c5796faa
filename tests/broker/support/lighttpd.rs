//! The real lighttpd with a CGI program that tells its environment, on loopback for as long as its test.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::child::{Program, free_port, wait_until};
use super::program::Folder;

/// A running lighttpd.
pub struct Lighttpd {
    pub port: u16,
    _program: Program,
    _folder: Folder,
}

impl Lighttpd {
    /// Starts it; every path below `/` is the CGI program, which prints its environment.
    pub fn telling_environments() -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let script =
            folder.write("environment.sh", "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nexec env\n");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let root = folder.path().display();
        let config = format!(
            "server.document-root = \"{root}\"\nserver.port = {port}\nserver.bind = \"127.0.0.1\"\n\
             server.modules = ( \"mod_rewrite\", \"mod_cgi\" )\nurl.rewrite-once = ( \"^/\" => \"/environment.sh\" )\n\
             cgi.assign = ( \".sh\" => \"/bin/sh\" )\n"
        );
        let config = folder.write("lighttpd.conf", &config);
        // Debian keeps it where only administrators look.
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        let program = Program::start(Command::new("lighttpd").env("PATH", path).args(["-D", "-f", &config]));
        wait_until("lighttpd listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { port, _program: program, _folder: folder }
    }
}
