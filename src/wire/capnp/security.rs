//! The agent card's ways to authenticate.

use std::collections::BTreeMap;

use capnp::struct_list;

use super::a2a_capnp::{
    api_key_security_scheme, http_auth_security_scheme, mutual_tls_security_scheme, o_auth_flow,
    o_auth_flows, o_auth2_security_scheme, open_id_connect_security_scheme, security_scheme,
};
use super::codec::{
    Decode, Encode, Within, known, map_length, optional, readable, required, required_struct, text, unique,
};
use crate::fault::{Fault, Result};
use crate::model::{
    ApiKeyLocation, ApiKeySecurityScheme, AuthorizationCodeOAuthFlow, ClientCredentialsOAuthFlow,
    DeviceCodeOAuthFlow, HttpAuthSecurityScheme, ImplicitOAuthFlow, MutualTlsSecurityScheme,
    OAuth2SecurityScheme, OAuthFlows, OpenIdConnectSecurityScheme, PasswordOAuthFlow, SecurityScheme,
};

impl Encode for SecurityScheme {
    type Owned = security_scheme::Owned;

    fn encode(&self, builder: security_scheme::Builder<'_>) {
        match self {
            Self::ApiKey(scheme) => scheme.encode(builder.init_api_key()),
            Self::HttpAuth(scheme) => scheme.encode(builder.init_http_auth()),
            Self::OAuth2(scheme) => scheme.encode(builder.init_oauth2()),
            Self::OpenIdConnect(scheme) => scheme.encode(builder.init_open_id_connect()),
            Self::MutualTls(scheme) => scheme.encode(builder.init_mutual_tls()),
        }
    }
}

impl Decode for SecurityScheme {
    type Owned = security_scheme::Owned;

    fn decode(reader: security_scheme::Reader<'_>) -> Result<Self> {
        use security_scheme::Which;
        Ok(match known("scheme", reader.which())? {
            Which::Unset(()) => {
                let members = "apiKey, httpAuth, oauth2, openIdConnect, mutualTls";
                return Err(Fault::invalid(
                    "scheme",
                    format!("needs exactly one of {members}; none is given"),
                ));
            }
            Which::ApiKey(scheme) => Self::ApiKey(required_struct("apiKey", Some(scheme))?),
            Which::HttpAuth(scheme) => Self::HttpAuth(required_struct("httpAuth", Some(scheme))?),
            Which::Oauth2(scheme) => Self::OAuth2(required_struct("oauth2", Some(scheme))?),
            Which::OpenIdConnect(scheme) => {
                Self::OpenIdConnect(required_struct("openIdConnect", Some(scheme))?)
            }
            Which::MutualTls(scheme) => Self::MutualTls(required_struct("mutualTls", Some(scheme))?),
        })
    }
}

impl Encode for ApiKeySecurityScheme {
    type Owned = api_key_security_scheme::Owned;

    fn encode(&self, mut builder: api_key_security_scheme::Builder<'_>) {
        if let Some(description) = &self.description {
            builder.set_description(description);
        }
        builder.set_location(self.location.name());
        builder.set_name(&self.name);
    }
}

impl Decode for ApiKeySecurityScheme {
    type Owned = api_key_security_scheme::Owned;

    fn decode(reader: api_key_security_scheme::Reader<'_>) -> Result<Self> {
        let location: &str = required("location", reader.get_location())?;
        let location = ApiKeyLocation::ALL.into_iter().find(|known| known.name() == location);
        let names = ApiKeyLocation::ALL.map(ApiKeyLocation::name).join(", ");
        Ok(Self {
            description: optional("description", reader.get_description())?,
            location: location
                .ok_or_else(|| Fault::invalid("location", format!("must be one of {names}")))?,
            name: required("name", reader.get_name())?,
        })
    }
}

impl Encode for HttpAuthSecurityScheme {
    type Owned = http_auth_security_scheme::Owned;

    fn encode(&self, mut builder: http_auth_security_scheme::Builder<'_>) {
        if let Some(description) = &self.description {
            builder.set_description(description);
        }
        builder.set_scheme(&self.scheme);
        if let Some(bearer_format) = &self.bearer_format {
            builder.set_bearer_format(bearer_format);
        }
    }
}

impl Decode for HttpAuthSecurityScheme {
    type Owned = http_auth_security_scheme::Owned;

    fn decode(reader: http_auth_security_scheme::Reader<'_>) -> Result<Self> {
        Ok(Self {
            description: optional("description", reader.get_description())?,
            scheme: required("scheme", reader.get_scheme())?,
            bearer_format: optional("bearerFormat", reader.get_bearer_format())?,
        })
    }
}

impl Encode for OAuth2SecurityScheme {
    type Owned = o_auth2_security_scheme::Owned;

    fn encode(&self, mut builder: o_auth2_security_scheme::Builder<'_>) {
        if let Some(description) = &self.description {
            builder.set_description(description);
        }
        self.flows.encode(builder.reborrow().init_flows());
        if let Some(url) = &self.oauth2_metadata_url {
            builder.set_oauth2_metadata_url(url);
        }
    }
}

impl Decode for OAuth2SecurityScheme {
    type Owned = o_auth2_security_scheme::Owned;

    fn decode(reader: o_auth2_security_scheme::Reader<'_>) -> Result<Self> {
        Ok(Self {
            description: optional("description", reader.get_description())?,
            flows: required_struct("flows", reader.has_flows().then(|| reader.get_flows()))?,
            oauth2_metadata_url: optional("oauth2MetadataUrl", reader.get_oauth2_metadata_url())?,
        })
    }
}

impl Encode for OpenIdConnectSecurityScheme {
    type Owned = open_id_connect_security_scheme::Owned;

    fn encode(&self, mut builder: open_id_connect_security_scheme::Builder<'_>) {
        if let Some(description) = &self.description {
            builder.set_description(description);
        }
        builder.set_open_id_connect_url(&self.open_id_connect_url);
    }
}

impl Decode for OpenIdConnectSecurityScheme {
    type Owned = open_id_connect_security_scheme::Owned;

    fn decode(reader: open_id_connect_security_scheme::Reader<'_>) -> Result<Self> {
        Ok(Self {
            description: optional("description", reader.get_description())?,
            open_id_connect_url: required("openIdConnectUrl", reader.get_open_id_connect_url())?,
        })
    }
}

impl Encode for MutualTlsSecurityScheme {
    type Owned = mutual_tls_security_scheme::Owned;

    fn encode(&self, mut builder: mutual_tls_security_scheme::Builder<'_>) {
        if let Some(description) = &self.description {
            builder.set_description(description);
        }
    }
}

impl Decode for MutualTlsSecurityScheme {
    type Owned = mutual_tls_security_scheme::Owned;

    fn decode(reader: mutual_tls_security_scheme::Reader<'_>) -> Result<Self> {
        Ok(Self { description: optional("description", reader.get_description())? })
    }
}

impl Encode for OAuthFlows {
    type Owned = o_auth_flows::Owned;

    fn encode(&self, builder: o_auth_flows::Builder<'_>) {
        match self {
            Self::AuthorizationCode(flow) => flow.encode(builder.init_authorization_code()),
            Self::ClientCredentials(flow) => flow.encode(builder.init_client_credentials()),
            Self::Implicit(flow) => flow.encode(builder.init_implicit()),
            Self::Password(flow) => flow.encode(builder.init_password()),
            Self::DeviceCode(flow) => flow.encode(builder.init_device_code()),
        }
    }
}

impl Decode for OAuthFlows {
    type Owned = o_auth_flows::Owned;

    fn decode(reader: o_auth_flows::Reader<'_>) -> Result<Self> {
        use o_auth_flows::Which;
        Ok(match known("flow", reader.which())? {
            Which::Unset(()) => {
                let members = "authorizationCode, clientCredentials, implicit, password, deviceCode";
                return Err(Fault::invalid("flow", format!("needs exactly one of {members}; none is given")));
            }
            Which::AuthorizationCode(flow) => {
                Self::AuthorizationCode(required_struct("authorizationCode", Some(flow))?)
            }
            Which::ClientCredentials(flow) => {
                Self::ClientCredentials(required_struct("clientCredentials", Some(flow))?)
            }
            Which::Implicit(flow) => Self::Implicit(required_struct("implicit", Some(flow))?),
            Which::Password(flow) => Self::Password(required_struct("password", Some(flow))?),
            Which::DeviceCode(flow) => Self::DeviceCode(required_struct("deviceCode", Some(flow))?),
        })
    }
}

impl Encode for AuthorizationCodeOAuthFlow {
    type Owned = o_auth_flow::Owned;

    fn encode(&self, mut builder: o_auth_flow::Builder<'_>) {
        builder.set_authorization_url(&self.authorization_url);
        builder.set_token_url(&self.token_url);
        if let Some(refresh_url) = &self.refresh_url {
            builder.set_refresh_url(refresh_url);
        }
        builder.set_pkce_required(self.pkce_required);
        encode_scopes(&self.scopes, builder);
    }
}

impl Decode for AuthorizationCodeOAuthFlow {
    type Owned = o_auth_flow::Owned;

    fn decode(reader: o_auth_flow::Reader<'_>) -> Result<Self> {
        Ok(Self {
            authorization_url: required("authorizationUrl", reader.get_authorization_url())?,
            token_url: required("tokenUrl", reader.get_token_url())?,
            refresh_url: optional("refreshUrl", reader.get_refresh_url())?,
            scopes: scopes(reader.get_scopes())?,
            pkce_required: reader.get_pkce_required(),
        })
    }
}

impl Encode for ClientCredentialsOAuthFlow {
    type Owned = o_auth_flow::Owned;

    fn encode(&self, mut builder: o_auth_flow::Builder<'_>) {
        builder.set_token_url(&self.token_url);
        if let Some(refresh_url) = &self.refresh_url {
            builder.set_refresh_url(refresh_url);
        }
        encode_scopes(&self.scopes, builder);
    }
}

impl Decode for ClientCredentialsOAuthFlow {
    type Owned = o_auth_flow::Owned;

    fn decode(reader: o_auth_flow::Reader<'_>) -> Result<Self> {
        Ok(Self {
            token_url: required("tokenUrl", reader.get_token_url())?,
            refresh_url: optional("refreshUrl", reader.get_refresh_url())?,
            scopes: scopes(reader.get_scopes())?,
        })
    }
}

impl Encode for DeviceCodeOAuthFlow {
    type Owned = o_auth_flow::Owned;

    fn encode(&self, mut builder: o_auth_flow::Builder<'_>) {
        builder.set_device_authorization_url(&self.device_authorization_url);
        builder.set_token_url(&self.token_url);
        if let Some(refresh_url) = &self.refresh_url {
            builder.set_refresh_url(refresh_url);
        }
        encode_scopes(&self.scopes, builder);
    }
}

impl Decode for DeviceCodeOAuthFlow {
    type Owned = o_auth_flow::Owned;

    fn decode(reader: o_auth_flow::Reader<'_>) -> Result<Self> {
        let device_authorization_url = reader.get_device_authorization_url();
        Ok(Self {
            device_authorization_url: required("deviceAuthorizationUrl", device_authorization_url)?,
            token_url: required("tokenUrl", reader.get_token_url())?,
            refresh_url: optional("refreshUrl", reader.get_refresh_url())?,
            scopes: scopes(reader.get_scopes())?,
        })
    }
}

impl Encode for ImplicitOAuthFlow {
    type Owned = o_auth_flow::Owned;

    fn encode(&self, mut builder: o_auth_flow::Builder<'_>) {
        if let Some(authorization_url) = &self.authorization_url {
            builder.set_authorization_url(authorization_url);
        }
        if let Some(refresh_url) = &self.refresh_url {
            builder.set_refresh_url(refresh_url);
        }
        encode_scopes(&self.scopes, builder);
    }
}

impl Decode for ImplicitOAuthFlow {
    type Owned = o_auth_flow::Owned;

    fn decode(reader: o_auth_flow::Reader<'_>) -> Result<Self> {
        Ok(Self {
            authorization_url: optional("authorizationUrl", reader.get_authorization_url())?,
            refresh_url: optional("refreshUrl", reader.get_refresh_url())?,
            scopes: scopes(reader.get_scopes())?,
        })
    }
}

impl Encode for PasswordOAuthFlow {
    type Owned = o_auth_flow::Owned;

    fn encode(&self, mut builder: o_auth_flow::Builder<'_>) {
        if let Some(token_url) = &self.token_url {
            builder.set_token_url(token_url);
        }
        if let Some(refresh_url) = &self.refresh_url {
            builder.set_refresh_url(refresh_url);
        }
        encode_scopes(&self.scopes, builder);
    }
}

impl Decode for PasswordOAuthFlow {
    type Owned = o_auth_flow::Owned;

    fn decode(reader: o_auth_flow::Reader<'_>) -> Result<Self> {
        Ok(Self {
            token_url: optional("tokenUrl", reader.get_token_url())?,
            refresh_url: optional("refreshUrl", reader.get_refresh_url())?,
            scopes: scopes(reader.get_scopes())?,
        })
    }
}

fn encode_scopes(scopes: &BTreeMap<String, String>, builder: o_auth_flow::Builder<'_>) {
    if scopes.is_empty() {
        return;
    }
    let mut list = builder.init_scopes(map_length(scopes));
    for (index, (name, description)) in (0..).zip(scopes) {
        let mut scope = list.reborrow().get(index);
        scope.set_name(name);
        scope.set_description(description);
    }
}

fn scopes(
    list: capnp::Result<struct_list::Reader<'_, o_auth_flow::scope::Owned>>,
) -> Result<BTreeMap<String, String>> {
    let mut scopes = BTreeMap::new();
    for (index, scope) in readable("scopes", list)?.iter().enumerate() {
        let mut entry = || {
            let name = text("name", scope.get_name())?;
            let description = text("description", scope.get_description())?.to_owned();
            unique("name", &mut scopes, name, description)
        };
        entry().within_element("scopes", index)?;
    }
    Ok(scopes)
}
