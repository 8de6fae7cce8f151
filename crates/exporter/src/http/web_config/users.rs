//! Passwords. bcrypt takes a tenth of a second on purpose, so they are checked on a thread of their own, one at a
//! time, and what was found is remembered.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, VecDeque},
    io,
    net::IpAddr,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
};

use bcrypt::HashParts;
use document::{DocumentError, Node};
use ring::{hmac, rand::SystemRandom};
use source::lock;
use tokio::sync::oneshot;

use crate::http::listen::Peer;

/// Results that are remembered; as many as exporter-toolkit does.
const REMEMBERED_MAX: usize = 100;

/// Passwords that wait, of all clients and of one network. Whoever guesses passwords delays others by the checks
/// of his own that wait, and no more.
const WAITING_MAX: usize = 32;
const WAITING_OF_NETWORK_MAX: usize = 4;

/// A hash of the lowest cost, for the first check at the start of the thread.
const CHEAP_HASH: &str = "$2b$04$.....................................................";

/// Users and their hashes.
#[derive(Debug, Default)]
pub struct Users(BTreeMap<String, Arc<str>>);

impl Users {
    /// `basic_auth_users`: a bcrypt hash for each name.
    pub(super) fn read(node: &Node) -> Result<Self, DocumentError> {
        let user = |(name, _, value): (&str, &Node, &Node)| {
            let hash = value.text(name)?;
            // The hash is a secret: an error does not repeat it.
            if hash.parse::<HashParts>().is_err() {
                return value.error(format!(
                    "the password of {name} is no bcrypt hash; make one with `htpasswd -nBC 10 {name}`"
                ));
            }
            Ok((name.to_owned(), hash.into()))
        };
        node.table("basic_auth_users")?.into_iter().map(user).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nobody needs a password.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The hash of a user. For an unknown one it is that of another, so that a check takes as long as for a
    /// known one; its result does not count.
    fn hash(&self, name: &[u8], key: &hmac::Key) -> Option<(bool, &Arc<str>)> {
        let known = std::str::from_utf8(name).ok().and_then(|name| self.0.get(name));
        known.map(|hash| (true, hash)).or_else(|| {
            // The same each time, or the times of several attempts would differ.
            let place = usize::from(hmac::sign(key, name).as_ref()[0]) % self.0.len().max(1);
            self.0.values().nth(place).map(|hash| (false, hash))
        })
    }
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// The user's password.
    Right,
    /// Not a user, or not the password.
    Wrong,
    /// Too many others wait.
    Busy,
}

/// Checks passwords. Only the thread computes; everything else is quick.
pub struct Passwords {
    /// Without it nobody can find out from memory which passwords were used.
    key: hmac::Key,
    shared: Arc<Shared>,
    waiting: RefCell<BTreeMap<Option<IpAddr>, usize>>,
}

#[derive(Default)]
struct Shared {
    /// A lock and a condition, since a thread's first wait at a channel needs the loader's lock.
    jobs: Mutex<VecDeque<Job>>,
    added: Condvar,
    remembered: Mutex<HashMap<Tag, bool>>,
}

/// User, hash and password, as a keyed digest.
type Tag = [u8; 32];

struct Job {
    tag: Tag,
    hash: Arc<str>,
    password: Vec<u8>,
    /// Whether the hash is the user's own.
    counts: bool,
    result: oneshot::Sender<bool>,
}

impl Passwords {
    /// Starts the thread, and waits until it has done a first check: a thread that uses something for the first
    /// time may need the loader's lock, which a vendor's library may hold for ever later.
    ///
    /// # Errors
    /// The thread cannot be started, or there are no random numbers.
    pub async fn start() -> io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let key = key.map_err(|_| io::Error::other("no random numbers"))?;
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        thread::Builder::new().name("passwords".to_owned()).spawn(move || own.work())?;
        let passwords = Self { key, shared, waiting: RefCell::default() };
        let first = passwords.submit([0; 32], &CHEAP_HASH.into(), b"", false);
        first.await.map_err(io::Error::other)?;
        Ok(passwords)
    }

    /// Whether this is the password of this user.
    pub async fn check(&self, users: &Users, name: &[u8], password: &[u8], peer: Peer) -> Checked {
        let Some((counts, hash)) = users.hash(name, &self.key) else { return Checked::Wrong };
        let tag = self.tag([name, hash.as_bytes(), password]);
        let remembered = lock(&self.shared.remembered).get(&tag).copied();
        let right = if let Some(right) = remembered {
            right
        } else {
            let Some(_place) = self.wait(peer.network()) else { return Checked::Busy };
            // The thread ends with the process.
            self.submit(tag, hash, password, counts).await.unwrap_or(false)
        };
        if right { Checked::Right } else { Checked::Wrong }
    }

    /// A digest of parts that cannot be confused with other parts.
    fn tag(&self, parts: [&[u8]; 3]) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// A place in the queue, where there is one.
    fn wait(&self, network: Option<IpAddr>) -> Option<WaitingPlace<'_>> {
        let mut waiting = self.waiting.borrow_mut();
        let total: usize = waiting.values().sum();
        // Clients on a unix socket have no network; they are of this host.
        let of_network = waiting.entry(network).or_default();
        if total >= WAITING_MAX || (network.is_some() && *of_network >= WAITING_OF_NETWORK_MAX) {
            return None;
        }
        *of_network += 1;
        Some(WaitingPlace { waiting: &self.waiting, network })
    }

    fn submit(&self, tag: Tag, hash: &Arc<str>, password: &[u8], counts: bool) -> oneshot::Receiver<bool> {
        let (result, received) = oneshot::channel();
        let job = Job { tag, hash: Arc::clone(hash), password: password.to_vec(), counts, result };
        lock(&self.shared.jobs).push_back(job);
        self.shared.added.notify_one();
        received
    }
}

/// One check that waits; no longer when this is dropped, also because the client is gone.
struct WaitingPlace<'a> {
    waiting: &'a RefCell<BTreeMap<Option<IpAddr>, usize>>,
    network: Option<IpAddr>,
}

impl Drop for WaitingPlace<'_> {
    fn drop(&mut self) {
        let mut waiting = self.waiting.borrow_mut();
        if let Some(count) = waiting.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.network);
            }
        }
    }
}

impl Shared {
    /// Checks passwords for ever.
    fn work(&self) {
        let mut jobs = lock(&self.jobs);
        loop {
            let Some(job) = jobs.pop_front() else {
                jobs = self.added.wait(jobs).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(jobs);
            if !job.result.is_closed() {
                let same = bcrypt::verify(&job.password, &job.hash).unwrap_or(false);
                let right = same && job.counts;
                self.remember(job.tag, right);
                // Fails where the client is gone.
                let _ = job.result.send(right);
            }
            jobs = lock(&self.jobs);
        }
    }

    /// Remembers a result. What was wrong is forgotten first: guesses must not push out those who know.
    fn remember(&self, tag: Tag, right: bool) {
        let mut remembered = lock(&self.remembered);
        if remembered.len() >= REMEMBERED_MAX {
            remembered.retain(|_, right| *right);
        }
        if remembered.len() >= REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(tag, right);
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime;

    use super::{
        Checked::{Right, Wrong},
        *,
    };

    /// Hashes of `secret` and `other`, of the lowest cost.
    fn users() -> Users {
        let hash = |password: &str| bcrypt::hash_with_salt(password, 4, [7; 16]).expect("hashed").to_string();
        let text = format!("anna: {}\nbert: {}\n", hash("secret"), hash("other"));
        Users::read(&document::yaml(&text).expect("YAML")).expect("users")
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
    }

    fn started() -> Passwords {
        run(Passwords::start()).expect("started")
    }

    fn checked(passwords: &Passwords, attempts: &[(&str, &str)]) -> Vec<Checked> {
        let users = users();
        let check = |(name, password): &(&str, &str)| {
            let (name, password) = (name.as_bytes(), password.as_bytes());
            run(passwords.check(&users, name, password, Peer(None)))
        };
        attempts.iter().map(check).collect()
    }

    #[test]
    fn only_a_known_user_with_the_own_password_is_right() {
        let passwords = started();
        for _ in 0..2 {
            let attempts = [("anna", "secret"), ("anna", "other"), ("bert", "other"), ("", "")];
            assert_eq!(checked(&passwords, &attempts), [Right, Wrong, Right, Wrong]);
            // An unknown user is compared with somebody's hash, and never right.
            for name in ["carl", "dora", "emil", "fritz"] {
                assert_eq!(checked(&passwords, &[(name, "secret"), (name, "other")]), [Wrong, Wrong]);
            }
        }
    }

    #[test]
    fn guesses_push_out_nobody_who_knows() {
        let passwords = started();
        assert_eq!(checked(&passwords, &[("anna", "secret")]), [Right]);
        for guess in 0..2 * REMEMBERED_MAX {
            assert_eq!(checked(&passwords, &[("anna", &guess.to_string())]), [Wrong]);
        }
        let remembered = lock(&passwords.shared.remembered);
        assert!(remembered.len() <= REMEMBERED_MAX);
        assert_eq!(remembered.values().filter(|right| **right).count(), 1);
    }

    #[test]
    fn one_network_may_let_few_wait() {
        let passwords = started();
        let network = |last| Some(IpAddr::from([10, 0, 0, last]));
        let mut places: Vec<_> = (0..WAITING_OF_NETWORK_MAX).map(|_| passwords.wait(network(1))).collect();
        assert!(places.iter().all(Option::is_some));
        assert!(passwords.wait(network(1)).is_none());
        assert!(passwords.wait(network(2)).is_some());
        places.pop();
        assert!(passwords.wait(network(1)).is_some());
        drop(places);
        assert!(passwords.waiting.borrow().values().all(|count| *count == 0));
    }

    #[test]
    fn an_error_does_not_repeat_the_hash() {
        for hash in ["plain", "$2y$99$abc", "$1$x$y"] {
            let tree = document::yaml(&format!("anna: '{hash}'\n")).expect("YAML");
            let error = Users::read(&tree).expect_err("no hash");
            assert!(error.what.contains("htpasswd") && !error.what.contains(hash), "{}", error.what);
        }
    }
}
