//! A full disk: what was acknowledged is there, what was not is not, and all goes on when there is room again.

use crate::harness::{assert_sound, id, local, new_run, noise, open, pages, settlement};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use store::{NewArtifact, NewRun, Settlement, StoreError};
use tempfile::TempDir;

/// A file system of a few megabytes in memory.
struct Small(TempDir);

impl Small {
    fn mount(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = std::ffi::CString::new(format!("size={size}")).unwrap();
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        if let Err(error) = mount("tmpfs", directory.path(), "tmpfs", flags, Some(options.as_c_str())) {
            panic!("CANNOT TEST A FULL DISK: mounting a tmpfs needs root ({error})");
        }
        Self(directory)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(error) = unmount(self.path(), UnmountFlags::DETACH) {
            eprintln!("{} stays mounted: {error}", self.path().display());
        }
    }
}

#[test]
fn acknowledged_writes_survive_a_full_disk() {
    let disk = Small::mount("12m");
    let data = disk.path().join("data");
    let filler = disk.path().join("filler");
    fs::write(&filler, vec![1; 4 << 20]).unwrap();
    let store = open(&data);
    let acknowledged = Mutex::new(Vec::new());
    let refused = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..8u64 {
            let (store, acknowledged, refused) = (&store, &acknowledged, &refused);
            scope.spawn(move || {
                for number in 0..300 {
                    let number = thread * 1000 + number;
                    // Large and small ones side by side: a group may fail as a whole, its small ones still fit.
                    let request = noise(if number % 4 == 0 { 60_000 } else { 100 });
                    let run = NewRun { request, ..new_run(number) };
                    match store.record(run, None, settlement(&id(number))).wait() {
                        Ok(_) => acknowledged.lock().unwrap().push(id(number)),
                        Err(StoreError::Full { .. }) => refused.lock().unwrap().push(id(number)),
                        Err(other) => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    let (acknowledged, refused) = (acknowledged.into_inner().unwrap(), refused.into_inner().unwrap());
    assert!(!acknowledged.is_empty() && !refused.is_empty());
    let reader = store.reader();
    assert!(acknowledged.iter().all(|id| reader.run(&local(), id).unwrap().is_some()));
    assert!(refused.iter().all(|id| reader.run(&local(), id).unwrap().is_none()));

    // A content that does not fit is refused, and leaves nothing.
    let large = vec![2; 8 << 20];
    assert!(matches!(store.stage(&mut &large[..], 16 << 20), Err(StoreError::Full { .. })));
    let spooled = store::Record {
        run: NewRun { request: noise(8 << 20), ..new_run(77_777) },
        started_at_ms: None,
        settled_at_ms: 0,
        result: settlement(&id(77_777)).result,
        trace: None,
        events: Vec::new(),
    };
    let spooled = store::spool::write(&data, spooled, Vec::new(), store::Durability::Commit);
    assert!(matches!(spooled, Err(StoreError::Full { .. })));
    assert_eq!(fs::read_dir(data.join("spool")).unwrap().count(), 0);

    // Room again: the same store goes on.
    fs::remove_file(&filler).unwrap();
    let content = store.stage(&mut &b"hello"[..], 5).unwrap();
    let artifacts = vec![NewArtifact { path: "a".to_owned(), mime: String::new(), content }];
    store.record(new_run(99_999), None, Settlement { artifacts, ..settlement(&id(99_999)) }).wait().unwrap();
    drop(reader);
    drop(store);
    let store = open(&data);
    let reader = store.reader();
    assert!(acknowledged.iter().all(|id| reader.run(&local(), id).unwrap().is_some()));
    assert!(reader.artifact(&local(), &id(99_999), "a").unwrap().is_some());
    let listed = pages(&reader, 200, || {}).len();
    assert_eq!(listed, acknowledged.len() + 1);
    drop((reader, store));
    assert_sound(&data);
}
