//! `A2aService`: the bootstrap object.

use std::rc::Rc;

use super::operations::Authorized;
use super::reply::{fail, parameters, params, text};
use super::session::{SessionShell, credentials};
use super::task::TaskShell;
use crate::capability::{PublicService, Session};
use crate::fault::Result;
use crate::transport::ConnectionHandle;
use crate::wire::capnp::capability_capnp::{a2a_service, server_info};
use crate::wire::capnp::{Broken, Encode};

pub(super) struct ServiceShell {
    service: PublicService,
    connection: Rc<ConnectionHandle>,
}

impl ServiceShell {
    pub(super) fn new(service: PublicService, connection: Rc<ConnectionHandle>) -> Self {
        Self { service, connection }
    }
}

impl Authorized for ServiceShell {
    fn session(&self) -> Result<Rc<Session>> {
        self.service.anonymous().cloned()
    }

    fn connection(&self) -> &Rc<ConnectionHandle> {
        &self.connection
    }
}

impl a2a_service::Server for ServiceShell {
    async fn info(
        self: Rc<Self>,
        _: a2a_service::InfoParams,
        mut results: a2a_service::InfoResults,
    ) -> capnp::Result<()> {
        encode_info(&self.connection, results.get().init_info());
        Ok(())
    }

    async fn get_agent_card(
        self: Rc<Self>,
        params: a2a_service::GetAgentCardParams,
        mut results: a2a_service::GetAgentCardResults,
    ) -> capnp::Result<()> {
        let answer = (|| {
            let params = self::params(params.get())?;
            parameters(params.get_parameters())?.check_version(crate::service::VERSIONS)?;
            self.service.agent_card(text("tenant", params.get_tenant())?)
        })();
        match answer {
            Ok(card) => card.encode(results.get().init_card()),
            Err(fault) => fail(&fault, results.get().init_error()),
        }
        Ok(())
    }

    async fn authenticate(
        self: Rc<Self>,
        params: a2a_service::AuthenticateParams,
        mut results: a2a_service::AuthenticateResults,
    ) -> capnp::Result<()> {
        let answer = async {
            let (shown, tenant, parameters) = {
                let params = self::params(params.get())?;
                let parameters = parameters(params.get_parameters())?;
                parameters.check_version(crate::service::VERSIONS)?;
                let tenant = text("tenant", params.get_tenant())?.map(str::to_owned);
                (credentials(params.get_credentials())?, tenant, parameters)
            };
            self.service.authenticate(&shown, tenant.as_deref(), &parameters).await
        };
        match answer.await {
            Ok(session) => {
                self.connection.authenticated();
                results.get().set_session(SessionShell::client(session, &self.connection));
            }
            Err(fault) => {
                results.get().set_session(Broken::new(&fault).client());
                fail(&fault, results.get().init_error());
            }
        }
        Ok(())
    }

    async fn claim(
        self: Rc<Self>,
        params: a2a_service::ClaimParams,
        mut results: a2a_service::ClaimResults,
    ) -> capnp::Result<()> {
        let answer = (|| {
            let params = self::params(params.get())?;
            self.service.claim(text("secret", params.get_secret())?.unwrap_or_default())
        })();
        match answer {
            Ok(claimed) => {
                // A secret is as good as a key: whoever showed one is somebody.
                self.connection.authenticated();
                results.get().set_task(TaskShell::client(claimed.task, &self.connection));
            }
            Err(fault) => {
                results.get().set_task(Broken::new(&fault).client());
                fail(&fault, results.get().init_error());
            }
        }
        Ok(())
    }
}

fn encode_info(connection: &ConnectionHandle, mut info: server_info::Builder<'_>) {
    info.set_revision(REVISION);
    info.set_software(concat!("a2a-webcap/", env!("CARGO_PKG_VERSION")));
    let count = |list: &[&str]| u32::try_from(list.len()).expect("a short constant list");
    let mut features = info.reborrow().init_features(count(FEATURES));
    for (index, feature) in (0..).zip(FEATURES) {
        features.set(index, feature);
    }
    let mut versions = info.reborrow().init_protocol_versions(count(crate::service::VERSIONS));
    for (index, version) in (0..).zip(crate::service::VERSIONS) {
        versions.set(index, version);
    }
    let limits = connection.limits();
    let named = [
        ("message-bytes", limits.message_bytes),
        ("exports", limits.exports),
        ("imports", limits.imports),
        ("questions", limits.questions),
        ("stream-window-bytes", limits.stream_window_bytes),
    ];
    let mut list = info.init_limits(u32::try_from(named.len()).expect("five"));
    for (index, (name, value)) in (0..).zip(named) {
        let mut pair = list.reborrow().get(index);
        pair.set_name(name);
        pair.set_value(value.to_string());
    }
}

/// Of the schema.
const REVISION: u32 = 1;

/// What a client may rely on beyond the schema's first revision.
const FEATURES: &[&str] =
    &["attenuate", "batch", "cancel-on-drop", "claim", "delete", "idempotent-send", "resume"];
