//! The agents of a server, by tenant.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::agent::Agent;
use crate::auth::Identity;
use crate::fault::{Fault, FaultKind, Result};
use crate::model::{AgentCard, AgentInterface};

/// What the agent is called that a server has alone; it answers callers who name no tenant, unless another was chosen.
pub const DEFAULT_TENANT: &str = "default";

/// The agents of a server. A tenant selects one.
#[derive(Default)]
pub struct Agents {
    by_name: BTreeMap<Arc<str>, Entry>,
    chosen: Option<Arc<str>>,
}

struct Entry {
    agent: Arc<dyn Agent>,
    own: AgentCard,
    published: OnceLock<Arc<AgentCard>>,
}

impl Agents {
    /// Agents that one server may have.
    pub const MOST: usize = 256;
    /// Characters that an agent's name may have.
    pub const NAME_CHARS: usize = 63;

    /// No agents.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an agent, or replaces the tenant's.
    pub fn insert(&mut self, tenant: &str, agent: Arc<dyn Agent>) {
        let entry = Entry { own: agent.card(), agent, published: OnceLock::new() };
        self.by_name.insert(Arc::from(tenant), entry);
    }

    /// Chooses which agent answers callers who name no tenant. Without a choice that is the one called
    /// [`DEFAULT_TENANT`], or the only one.
    pub fn choose(&mut self, tenant: &str) {
        self.chosen = Some(Arc::from(tenant));
    }

    /// Says whether an agent may be called so: its name stands in paths (`/support/.well-known/agent-card.json`),
    /// environment variables and logs.
    ///
    /// # Errors
    /// What is wrong with it, to stand behind the name.
    pub fn check_name(name: &str) -> Result<(), &'static str> {
        let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !begins || name.len() > Self::NAME_CHARS || !name.chars().all(allowed) {
            return Err("must begin with a letter from a to z and have at most 63 of a to z, 0 to 9 and -");
        }
        if RESERVED.contains(&name) {
            return Err("is a path of the server's own: choose another");
        }
        Ok(())
    }

    /// Which of the agents of these names answers callers who name no tenant, if one of them is chosen or not.
    ///
    /// # Errors
    /// The problem: a name that cannot be one, too many agents, or no default.
    pub fn check_names<'a>(names: &[&'a str], chosen: Option<&str>) -> std::result::Result<&'a str, String> {
        for name in names {
            Self::check_name(name).map_err(|problem| format!("the agent's name {name:?} {problem}"))?;
        }
        if names.len() > Self::MOST {
            return Err(format!(
                "there are {} agents, and a server takes at most {}",
                names.len(),
                Self::MOST
            ));
        }
        let of_name = |wanted: &str| names.iter().copied().find(|name| *name == wanted);
        let only = || names.first().copied().filter(|_| names.len() == 1);
        let found = match chosen {
            Some(chosen) => of_name(chosen),
            None => of_name(DEFAULT_TENANT).or_else(only),
        };
        found.ok_or_else(|| match chosen {
            Some(chosen) => format!("the default agent {chosen:?} is none of the agents: {}", listed(names)),
            None => {
                format!("no agent is the default, for callers who name none: choose one of {}", listed(names))
            }
        })
    }

    /// Says what is wrong with these agents together.
    ///
    /// # Errors
    /// As of [`check_names`](Self::check_names).
    pub fn check(&self) -> std::result::Result<(), String> {
        let names: Vec<_> = self.by_name.keys().map(|name| &**name).collect();
        Self::check_names(&names, self.chosen.as_deref()).map(|_| ())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Completes the cards with what only the server knows: under which interfaces it can be reached, and
    /// what it takes to authenticate. Without effect after the first time.
    pub fn publish(&self, complete: impl Fn(&str, AgentCard) -> AgentCard) {
        for (tenant, entry) in &self.by_name {
            entry.published.get_or_init(|| Arc::new(complete(tenant, entry.own.clone())));
        }
    }

    /// The tenant's name and agent; the default one's without a tenant.
    ///
    /// # Errors
    /// [`FaultKind::InvalidParams`] for a tenant that there is none of.
    pub fn find(&self, tenant: Option<&str>) -> Result<(&Arc<str>, &Arc<dyn Agent>)> {
        let asked = named(tenant);
        let name = asked.or(self.default_name().map(|name| &**name)).unwrap_or(DEFAULT_TENANT);
        self.entry(name).map(|(name, entry)| (name, &entry.agent))
    }

    /// The name of the tenant's agent, if whoever this is may come to it.
    ///
    /// # Errors
    /// [`FaultKind::Forbidden`], the same for an agent that the credentials do not open and for one that there is
    /// none of: only those that they open are told.
    pub fn opened_by(&self, identity: &Identity, tenant: Option<&str>) -> Result<&Arc<str>> {
        let found = self.find(tenant).ok().map(|(name, _)| name);
        found.filter(|name| identity.opens(name)).ok_or_else(|| self.closed_to(identity, named(tenant)))
    }

    fn closed_to(&self, identity: &Identity, asked: Option<&str>) -> Fault {
        let opened: Vec<_> =
            self.by_name.keys().map(|name| &**name).filter(|name| identity.opens(name)).collect();
        let what = match asked {
            Some(name) => format!("an agent called {}", shown(name)),
            None => "the agent that answers callers who name none".to_owned(),
        };
        let message = match listed(&opened) {
            none if none.is_empty() => format!("these credentials do not open {what}, nor any other here"),
            names => format!("these credentials do not open {what}; as tenant they open: {names}"),
        };
        Fault::new(FaultKind::Forbidden, message)
    }

    /// The agents by tenant.
    pub fn iter(&self) -> impl Iterator<Item = (Arc<str>, Arc<dyn Agent>)> {
        self.by_name.iter().map(|(tenant, entry)| (Arc::clone(tenant), Arc::clone(&entry.agent)))
    }

    /// The name of the agent that answers callers who name no tenant; none if that is not clear.
    pub fn default_name(&self) -> Option<&Arc<str>> {
        let only = || self.by_name.keys().next().filter(|_| self.by_name.len() == 1);
        let key = |name: &str| self.by_name.get_key_value(name).map(|(name, _)| name);
        match &self.chosen {
            Some(chosen) => key(chosen),
            None => key(DEFAULT_TENANT).or_else(only),
        }
    }

    /// The card of the tenant's agent.
    pub fn card(&self, tenant: &str) -> Result<Arc<AgentCard>> {
        let (_, entry) = self.entry(tenant)?;
        Ok(entry.published.get().cloned().unwrap_or_else(|| Arc::new(entry.own.clone())))
    }

    /// Whether a call without service parameters has to be looked at.
    pub fn any_requires_extensions(&self) -> bool {
        let required = |entry: &Entry| entry.own.capabilities.extensions.iter().any(|one| one.required);
        self.by_name.values().any(required)
    }

    fn entry(&self, tenant: &str) -> Result<(&Arc<str>, &Entry)> {
        self.by_name.get_key_value(tenant).ok_or_else(|| {
            Fault::new(FaultKind::InvalidParams, format!("no agent is called {} here", shown(tenant)))
        })
    }
}

/// Paths of the server, in every binding, that a tenant's would be taken for.
const RESERVED: [&str; 9] =
    ["capnp", "capnweb", "console", "health", "healthz", "metrics", "readyz", "tasks", "v1"];

/// An empty tenant names none, as where it was left out.
fn named(tenant: Option<&str>) -> Option<&str> {
    tenant.filter(|tenant| !tenant.is_empty())
}

/// A name that a caller gave, as it can stand in an answer.
fn shown(name: &str) -> String {
    format!("{:?}", name.chars().take(Agents::NAME_CHARS).collect::<String>())
}

/// Some names, for people.
fn listed(names: &[&str]) -> String {
    let more = if names.len() > LISTED { ", …" } else { "" };
    names[..names.len().min(LISTED)].join(", ") + more
}

/// Names that an answer lists at most.
const LISTED: usize = 16;

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

/// One interface of a card.
pub fn interface(url: String, binding: &str, tenant: &str) -> AgentInterface {
    AgentInterface {
        url,
        protocol_binding: binding.to_owned(),
        tenant: (tenant != DEFAULT_TENANT).then(|| tenant.to_owned()),
        protocol_version: super::VERSIONS[0].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Principal;

    /// Says nothing; its name is what matters.
    struct Mute;

    #[async_trait::async_trait]
    impl Agent for Mute {
        fn card(&self) -> AgentCard {
            AgentCard::new("mute", "says nothing", "1")
        }

        async fn execute(
            &self,
            _: crate::agent::Turn,
            _: crate::agent::Updates,
        ) -> std::result::Result<(), crate::agent::AgentError> {
            Ok(())
        }
    }

    fn agents(names: &[&str]) -> Agents {
        let mut agents = Agents::new();
        for name in names {
            agents.insert(name, Arc::new(Mute));
        }
        agents
    }

    fn somebody(opened: Option<&[&str]>) -> Identity {
        let principal = Principal::new("default", "alice").unwrap();
        let mut identity = Identity::of(Arc::new(principal));
        identity.agents = opened.map(|names| names.iter().map(|name| Arc::from(*name)).collect());
        identity
    }

    #[test]
    fn the_default_is_the_chosen_one_else_that_of_this_name_else_the_only_one() {
        let default = |agents: &Agents| agents.default_name().map(|name| name.to_string());
        assert_eq!(default(&agents(&["b"])).as_deref(), Some("b"));
        assert_eq!(default(&agents(&["b", "default"])).as_deref(), Some("default"));
        let mut two = agents(&["a", "b"]);
        assert_eq!(default(&two), None);
        assert!(two.check().unwrap_err().ends_with("choose one of a, b"));
        two.choose("b");
        assert_eq!(default(&two).as_deref(), Some("b"));
        assert_eq!(two.check(), Ok(()));
        two.choose("c");
        assert_eq!(two.check().unwrap_err(), "the default agent \"c\" is none of the agents: a, b");
    }

    #[test]
    fn a_name_has_to_stand_in_a_path_of_its_own() {
        for name in ["a", "support", "my-bot-2", &"x".repeat(63)] {
            assert_eq!(Agents::check_name(name), Ok(()), "{name}");
        }
        for name in ["", "2", "-a", "Support", "a_b", "a.b", "a/b", "a%2f", "ä", " a", &"x".repeat(64)] {
            assert!(Agents::check_name(name).unwrap_err().starts_with("must begin"), "{name}");
        }
        for name in RESERVED {
            assert!(Agents::check_name(name).unwrap_err().starts_with("is a path"), "{name}");
        }
    }

    #[test]
    fn a_closed_agent_and_none_are_answered_alike_with_those_that_are_open() {
        let agents = agents(&["billing", "default", "support"]);
        let bob = somebody(Some(&["support"]));
        let refused = |who: &Identity, tenant| agents.opened_by(who, tenant).unwrap_err().to_string();
        assert_eq!(&**agents.opened_by(&bob, Some("support")).unwrap(), "support");
        let closed = refused(&bob, Some("billing"));
        assert_eq!(closed.replace("billing", "nobody"), refused(&bob, Some("nobody")));
        assert_eq!(
            closed,
            "FORBIDDEN (-31403): these credentials do not open an agent called \"billing\"; as tenant they open: \
             support"
        );
        assert!(
            refused(&bob, None).contains("who name none; as tenant they open: support"),
            "{}",
            refused(&bob, None)
        );
        let lost = refused(&somebody(Some(&["gone"])), Some("billing"));
        assert!(lost.ends_with("nor any other here"), "{lost}");
        assert_eq!(&**agents.opened_by(&somebody(None), Some("")).unwrap(), "default");
    }
}
