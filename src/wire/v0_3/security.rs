//! How a caller is let in: OpenAPI's security schemes, whose `type` says which.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::some_text;
use crate::model::{self, OAuthFlows};

/// A way to authenticate.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum SecurityScheme<'a> {
    ApiKey {
        #[serde(rename = "in")]
        location: &'static str,
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<Cow<'a, str>>,
    },
    Http {
        scheme: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        bearer_format: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<Cow<'a, str>>,
    },
    Oauth2 {
        /// By the name of the flow; those that OpenAPI does not know are left out.
        flows: BTreeMap<&'static str, Flow<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        oauth2_metadata_url: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<Cow<'a, str>>,
    },
    OpenIdConnect {
        open_id_connect_url: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<Cow<'a, str>>,
    },
    #[serde(rename = "mutualTLS")]
    MutualTls {
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<Cow<'a, str>>,
    },
}

/// How an OAuth 2.0 token is got.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Flow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_url: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_url: Option<Cow<'a, str>>,
    scopes: &'a BTreeMap<String, String>,
}

impl<'a> From<&'a model::SecurityScheme> for SecurityScheme<'a> {
    fn from(scheme: &'a model::SecurityScheme) -> Self {
        use model::SecurityScheme as S;
        match scheme {
            S::ApiKey(key) => Self::ApiKey {
                location: key.location.name(),
                name: &key.name,
                description: some_text(&key.description),
            },
            S::HttpAuth(http) => Self::Http {
                scheme: &http.scheme,
                bearer_format: some_text(&http.bearer_format),
                description: some_text(&http.description),
            },
            S::OAuth2(oauth) => Self::Oauth2 {
                flows: flow(&oauth.flows).into_iter().collect(),
                oauth2_metadata_url: some_text(&oauth.oauth2_metadata_url),
                description: some_text(&oauth.description),
            },
            S::OpenIdConnect(open) => Self::OpenIdConnect {
                open_id_connect_url: &open.open_id_connect_url,
                description: some_text(&open.description),
            },
            S::MutualTls(tls) => Self::MutualTls { description: some_text(&tls.description) },
        }
    }
}

fn flow(flows: &OAuthFlows) -> Option<(&'static str, Flow<'_>)> {
    fn required(url: &str) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(url))
    }
    Some(match flows {
        OAuthFlows::AuthorizationCode(flow) => (
            "authorizationCode",
            Flow {
                authorization_url: required(&flow.authorization_url),
                token_url: required(&flow.token_url),
                refresh_url: some_text(&flow.refresh_url),
                scopes: &flow.scopes,
            },
        ),
        OAuthFlows::ClientCredentials(flow) => (
            "clientCredentials",
            Flow {
                authorization_url: None,
                token_url: required(&flow.token_url),
                refresh_url: some_text(&flow.refresh_url),
                scopes: &flow.scopes,
            },
        ),
        OAuthFlows::Implicit(flow) => (
            "implicit",
            Flow {
                authorization_url: some_text(&flow.authorization_url),
                token_url: None,
                refresh_url: some_text(&flow.refresh_url),
                scopes: &flow.scopes,
            },
        ),
        OAuthFlows::Password(flow) => (
            "password",
            Flow {
                authorization_url: None,
                token_url: some_text(&flow.token_url),
                refresh_url: some_text(&flow.refresh_url),
                scopes: &flow.scopes,
            },
        ),
        OAuthFlows::DeviceCode(_) => return None,
    })
}
