//! How a caller is let in, as an agent card declares it.

use std::collections::BTreeMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fields::{is_blank, is_false, optional, or_default, required, union};

/// Ways to authenticate that are needed together, each with its scopes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityRequirement {
    /// Names of the card's security schemes.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub schemes: BTreeMap<String, StringList>,
}

/// A list of texts, as a value of a map.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StringList {
    /// The texts.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub list: Vec<String>,
}

union! {
    /// A way to authenticate. In JSON an object with one member that says which.
    pub enum SecurityScheme {
        /// A key in a header, query parameter or cookie.
        ApiKey(ApiKeySecurityScheme) = "apiKeySecurityScheme" | "api_key_security_scheme";
        /// An HTTP authentication scheme.
        HttpAuth(HttpAuthSecurityScheme) = "httpAuthSecurityScheme" | "http_auth_security_scheme";
        /// OAuth 2.0.
        OAuth2(OAuth2SecurityScheme) = "oauth2SecurityScheme" | "oauth2_security_scheme";
        /// OpenID Connect.
        OpenIdConnect(OpenIdConnectSecurityScheme) =
            "openIdConnectSecurityScheme" | "open_id_connect_security_scheme";
        /// A certificate of the client.
        MutualTls(MutualTlsSecurityScheme) = "mtlsSecurityScheme" | "mtls_security_scheme";
    }
}

/// A key in a header, query parameter or cookie.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApiKeySecurityScheme {
    /// For humans.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub description: Option<String>,
    /// Where the key goes.
    pub location: ApiKeyLocation,
    /// The name of the header, query parameter or cookie.
    #[serde(deserialize_with = "required")]
    pub name: String,
}

/// Where an API key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ApiKeyLocation {
    /// In the query of the URL.
    Query,
    /// In an HTTP header.
    Header,
    /// In a cookie.
    Cookie,
}

impl ApiKeyLocation {
    /// The three places.
    pub const ALL: [Self; 3] = [Self::Query, Self::Header, Self::Cookie];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Header => "header",
            Self::Cookie => "cookie",
        }
    }

    /// The place with this name in JSON.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|place| place.name() == name)
    }
}

impl Serialize for ApiKeyLocation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

// Not derived: a derived enum calls `null` and the like malformed JSON, and names no field.
impl<'de> Deserialize<'de> for ApiKeyLocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| D::Error::unknown_variant(&name, &["query", "header", "cookie"]))
    }
}

/// An HTTP authentication scheme.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAuthSecurityScheme {
    /// For humans.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub description: Option<String>,
    /// The IANA name of the scheme, in any case: `Bearer`.
    #[serde(deserialize_with = "required")]
    pub scheme: String,
    /// What a bearer token looks like: `JWT`.
    #[serde(
        default,
        alias = "bearer_format",
        deserialize_with = "optional",
        skip_serializing_if = "is_blank"
    )]
    pub bearer_format: Option<String>,
}

/// OAuth 2.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuth2SecurityScheme {
    /// For humans.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub description: Option<String>,
    /// How a token is got.
    pub flows: OAuthFlows,
    /// The metadata of the authorization server (RFC 8414).
    #[serde(
        default,
        alias = "oauth2_metadata_url",
        deserialize_with = "optional",
        skip_serializing_if = "is_blank"
    )]
    pub oauth2_metadata_url: Option<String>,
}

/// OpenID Connect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OpenIdConnectSecurityScheme {
    /// For humans.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub description: Option<String>,
    /// The discovery document.
    #[serde(alias = "open_id_connect_url", deserialize_with = "required")]
    pub open_id_connect_url: String,
}

/// A certificate of the client.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MutualTlsSecurityScheme {
    /// For humans.
    #[serde(default, deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub description: Option<String>,
}

union! {
    /// How an OAuth 2.0 token is got. In JSON an object with one member that says which.
    pub enum OAuthFlows {
        /// The user grants it in a browser.
        AuthorizationCode(AuthorizationCodeOAuthFlow) = "authorizationCode" | "authorization_code";
        /// The client has credentials of its own.
        ClientCredentials(ClientCredentialsOAuthFlow) = "clientCredentials" | "client_credentials";
        /// Deprecated by OAuth and by A2A.
        Implicit(ImplicitOAuthFlow) = "implicit" | "implicit";
        /// Deprecated by OAuth and by A2A.
        Password(PasswordOAuthFlow) = "password" | "password";
        /// The user grants it on another device.
        DeviceCode(DeviceCodeOAuthFlow) = "deviceCode" | "device_code";
    }
}

/// The user grants the token in a browser.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationCodeOAuthFlow {
    /// Where the user grants it.
    #[serde(alias = "authorization_url", deserialize_with = "required")]
    pub authorization_url: String,
    /// Where the token is got.
    #[serde(alias = "token_url", deserialize_with = "required")]
    pub token_url: String,
    /// Where it is renewed.
    #[serde(default, alias = "refresh_url", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub refresh_url: Option<String>,
    /// The scopes and what they mean; may be empty.
    pub scopes: BTreeMap<String, String>,
    /// Whether PKCE (RFC 7636) must be used.
    #[serde(
        default,
        alias = "pkce_required",
        deserialize_with = "or_default",
        skip_serializing_if = "is_false"
    )]
    pub pkce_required: bool,
}

/// The client has credentials of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientCredentialsOAuthFlow {
    /// Where the token is got.
    #[serde(alias = "token_url", deserialize_with = "required")]
    pub token_url: String,
    /// Where it is renewed.
    #[serde(default, alias = "refresh_url", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub refresh_url: Option<String>,
    /// The scopes and what they mean; may be empty.
    pub scopes: BTreeMap<String, String>,
}

/// The user grants the token on another device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceCodeOAuthFlow {
    /// Where the code for the user is got.
    #[serde(alias = "device_authorization_url", deserialize_with = "required")]
    pub device_authorization_url: String,
    /// Where the token is got.
    #[serde(alias = "token_url", deserialize_with = "required")]
    pub token_url: String,
    /// Where it is renewed.
    #[serde(default, alias = "refresh_url", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub refresh_url: Option<String>,
    /// The scopes and what they mean; may be empty.
    pub scopes: BTreeMap<String, String>,
}

/// A deprecated flow; here so that cards which name it can be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImplicitOAuthFlow {
    /// Where the user grants the token.
    #[serde(
        default,
        alias = "authorization_url",
        deserialize_with = "optional",
        skip_serializing_if = "is_blank"
    )]
    pub authorization_url: Option<String>,
    /// Where it is renewed.
    #[serde(default, alias = "refresh_url", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub refresh_url: Option<String>,
    /// The scopes and what they mean.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub scopes: BTreeMap<String, String>,
}

/// A deprecated flow; here so that cards which name it can be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PasswordOAuthFlow {
    /// Where the token is got.
    #[serde(default, alias = "token_url", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub token_url: Option<String>,
    /// Where it is renewed.
    #[serde(default, alias = "refresh_url", deserialize_with = "optional", skip_serializing_if = "is_blank")]
    pub refresh_url: Option<String>,
    /// The scopes and what they mean.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub scopes: BTreeMap<String, String>,
}
