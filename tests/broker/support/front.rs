//! Real reverse proxies, for as long as their test.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use super::child::{Program, wait_until};
use super::program::Folder;

/// A running nginx or Caddy.
pub struct Front {
    pub address: SocketAddr,
    _program: Program,
}

impl Front {
    /// nginx with these `server` and `upstream` sections, one of which listens on `port`.
    pub fn nginx(folder: &Folder, port: u16, sections: &str) -> Self {
        let path = folder.path().display();
        let config = format!(
            "daemon off;\nmaster_process off;\npid {path}/nginx.pid;\nerror_log stderr;\nevents {{ worker_connections 1024; }}\n\
             http {{\naccess_log off;\nclient_body_temp_path {path}/bodies;\nproxy_temp_path {path}/answers;\n\
             fastcgi_temp_path {path}/f;\nuwsgi_temp_path {path}/u;\nscgi_temp_path {path}/s;\n{sections}\n}}\n"
        );
        let config = folder.write("nginx.conf", &config);
        Self::start(Command::new(program("nginx")).args(["-p", &path.to_string(), "-c", &config]), port)
    }

    /// Caddy with this Caddyfile, which listens on `port`.
    pub fn caddy(folder: &Folder, port: u16, caddyfile: &str) -> Self {
        let file = folder.write("Caddyfile", caddyfile);
        let mut command = Command::new(program("caddy"));
        command.args(["run", "--adapter", "caddyfile", "--config", &file]).env("HOME", folder.path());
        Self::start(command.env("XDG_DATA_HOME", folder.path()).env("XDG_CONFIG_HOME", folder.path()), port)
    }

    fn start(command: &mut Command, port: u16) -> Self {
        let program = Program::start(command);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until("the proxy listens", || TcpStream::connect(address).is_ok());
        Self { address, _program: program }
    }
}

/// A program that Debian may have put where only root looks.
fn program(name: &str) -> PathBuf {
    let beside = PathBuf::from("/usr/sbin").join(name);
    if beside.exists() { beside } else { name.into() }
}
