//! Settings: their forms, their origins, and what is said of wrong ones.

use figment::Figment;
use figment::providers::{Format as _, Serialized, Toml};

use super::*;

fn load(toml: &str) -> Result<Config, Box<figment::Error>> {
    let figment = Figment::from(Serialized::defaults(Config::default())).merge(Toml::string(toml));
    figment.extract().map_err(Box::new)
}

#[test]
fn a_file_sets_what_it_names_and_leaves_the_rest() {
    let config = load("agent = \"echo\"\n[limits.net]\nidle-connections = 1").unwrap_err();
    assert!(config.to_string().contains("idle-connections"), "{config}");
    let config = load("agent = \"echo\"\n[limits.net]\nconnections = 7\nheader-timeout = 0.5").unwrap();
    assert_eq!((config.agent.as_deref().unwrap(), config.limits.net.connections), ("echo", 7));
    assert_eq!(config.limits.net.header_timeout, std::time::Duration::from_millis(500));
    assert_eq!(config.listen.port(), DEFAULT_PORT);
}

#[test]
fn a_store_is_memory_or_a_path_and_a_directory_may_be_called_memory_too() {
    let store = |toml: &str| load(toml).unwrap().store;
    assert_eq!(store(""), None);
    assert_eq!(store("store = \"memory\""), Some(StoreChoice::Memory));
    for path in ["./memory", "/var/lib/a2a", "tasks"] {
        let choice = StoreChoice::Directory(PathBuf::from(path));
        assert_eq!(store(&format!("store = {path:?}")), Some(choice.clone()));
        assert_eq!(StoreChoice::parse(choice.to_string()), Ok(choice), "what is shown can be given");
    }
    let error = load("store = \"\"").unwrap_err().to_string();
    assert!(error.contains("must be `memory` or a directory's path"), "{error}");
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    let told = |toml: &str| ConfigError(load(toml).unwrap_err()).to_string();
    assert_eq!(told("lisen = \"127.0.0.1:1\""), "there is no setting `lisen`; did you mean `listen`?");
    let nested = told("[limits.net]\nconections = 1");
    assert!(nested.ends_with("did you mean `limits.net.connections`?"), "{nested}");
    let elsewhere = told("connections = 1");
    assert!(elsewhere.ends_with("did you mean `limits.net.connections`?"), "{elsewhere}");
    assert!(told("zzz = 1").contains("there are: listen, "), "{}", told("zzz = 1"));
}

#[test]
fn what_the_caller_sets_wins_and_every_origin_is_known() {
    let name = format!("a2a-webcap-config-{}.toml", crate::model::fresh_id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, "agent = \"echo\"\nworkers = 3\nallowed-hosts = [\"a\"]\n").unwrap();
    let set = |key: &str, value: &str| (key.to_owned(), value.parse().unwrap());
    let set = vec![set("workers", "2"), set("limits.net.connections", "7"), set("allowed-hosts", "[\"b\"]")];
    let layers = Layers::read(Some(&path), set);
    std::fs::remove_file(&path).unwrap();
    let layers = layers.unwrap();
    let config = &layers.config;
    assert_eq!(
        (config.workers, config.limits.net.connections, config.agent.as_deref().unwrap()),
        (2, 7, "echo")
    );
    assert_eq!(config.allowed_hosts, ["a", "b"]);
    assert_eq!(layers.origin("agent"), Origin::File(path));
    assert_eq!(layers.origin("workers"), Origin::Flag);
    assert_eq!(layers.origin("limits.net.connections"), Origin::Flag);
    assert_eq!(layers.origin("listen"), Origin::Default);
    assert_eq!(variable("limits.net.header-timeout"), "A2A_WEBCAP_LIMITS__NET__HEADER_TIMEOUT");
}

#[test]
fn the_state_directory_follows_the_environment() {
    let home = |name: &str| (name == "HOME").then(|| "/home/dana".to_owned());
    let config = Config::default();
    assert_eq!(config.state_dir(home), Some(PathBuf::from("/home/dana/.local/state/a2a-webcap")));
    assert_eq!(config.state_dir(|_| None), None);
}
