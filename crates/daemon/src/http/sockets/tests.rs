//! Sockets and addresses that are free, stale or taken.

use std::os::unix::fs::MetadataExt;

use super::*;

/// A directory of a test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("egret-sockets-{test}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn intent(&self, metrics: &str) -> Intent {
        let text = format!(
            "interfaces: [{{name: eth0, realm: both}}]\n\
             api: {{socket: {}}}\n\
             metrics: {{{metrics}}}\n",
            self.socket().display()
        );
        gateway::intent::parse("gateway.yaml", &text)
            .unwrap()
            .intent
    }

    fn socket(&self) -> PathBuf {
        self.0.join("run/egret.sock")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn the_socket_is_made_with_its_directory_for_user_and_group_alone() {
    let folder = Folder::new("made");

    let listeners = listen(&folder.intent("")).unwrap();

    assert!(listeners.metrics.is_none());
    let mode = fs::metadata(folder.socket()).unwrap().mode() & 0o777;
    assert_eq!(mode, 0o660);
}

#[tokio::test]
async fn a_socket_that_a_killed_daemon_left_is_replaced() {
    let folder = Folder::new("stale");
    drop(listen(&folder.intent("")).unwrap());
    assert!(folder.socket().exists());

    let _listeners = listen(&folder.intent("")).unwrap();

    std::os::unix::net::UnixStream::connect(folder.socket()).unwrap();
}

#[tokio::test]
async fn a_file_in_the_sockets_place_is_left_and_named() {
    let folder = Folder::new("file");
    fs::create_dir_all(folder.0.join("run")).unwrap();
    fs::write(folder.socket(), "precious").unwrap();

    let error = listen(&folder.intent("")).unwrap_err().to_string();

    assert!(
        error.contains("egret.sock") && error.contains("api.socket"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(folder.socket()).unwrap(), "precious");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_what_to_do() {
    let folder = Folder::new("taken");
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap();

    let error = listen(&folder.intent(&format!("listen: \"{address}\""))).unwrap_err();

    let error = error.to_string();
    assert!(error.contains(&address.to_string()), "{error}");
    assert!(error.contains("stop the program that has it"), "{error}");
}
