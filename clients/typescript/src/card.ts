/** An agent's description of itself, and how a caller is let in. */

import type { Struct } from "./model.js";

/** An agent's description of itself. */
export interface AgentCard {
  /** For humans. */
  name: string;
  /** For humans and for agents that look for help. */
  description: string;
  /** Where the agent is and what it speaks there: at least one, the preferred one first. */
  supportedInterfaces: AgentInterface[];
  /** Who runs the agent. */
  provider?: AgentProvider;
  /** The agent's own version. */
  version: string;
  /** Where to read more. */
  documentationUrl?: string;
  /** Which optional parts of the protocol the agent has. */
  capabilities: AgentCapabilities;
  /** The ways to authenticate, by names of the card's own. */
  securitySchemes?: { [name: string]: SecurityScheme };
  /** What is asked of a caller: any one of these. */
  securityRequirements?: SecurityRequirement[];
  /** The media types that every skill takes, unless it says otherwise: at least one. */
  defaultInputModes: string[];
  /** The media types that every skill gives, unless it says otherwise: at least one. */
  defaultOutputModes: string[];
  /** What the agent can do: at least one skill. */
  skills: AgentSkill[];
  /** Signatures over the card without them. */
  signatures?: AgentCardSignature[];
  /** A picture of the agent. */
  iconUrl?: string;
}

/** One place where the agent is, and what it speaks there. */
export interface AgentInterface {
  /** The address. */
  url: string;
  /** `JSONRPC`, `GRPC`, `HTTP+JSON`, or the URI of another binding. */
  protocolBinding: string;
  /** What the client must put in the tenant field of every request. */
  tenant?: string;
  /** The version of A2A: `1.0`. */
  protocolVersion: string;
}

/** Who runs an agent. */
export interface AgentProvider {
  /** The provider's site. */
  url: string;
  /** The provider's name. */
  organization: string;
}

/** Which optional parts of the protocol an agent has; absent is no. */
export interface AgentCapabilities {
  /** Whether answers can be streamed. */
  streaming?: boolean;
  /** Whether webhooks are called. */
  pushNotifications?: boolean;
  /** The extensions that the agent knows. */
  extensions?: AgentExtension[];
  /** Whether an authenticated caller sees a longer card. */
  extendedAgentCard?: boolean;
}

/** An extension of the protocol that an agent knows. */
export interface AgentExtension {
  /** Which extension. */
  uri?: string;
  /** How the agent uses it. */
  description?: string;
  /** Whether a client must ask for it. */
  required?: boolean;
  /** Settings, as the extension defines them. */
  params?: Struct;
}

/** Something that an agent can do. */
export interface AgentSkill {
  /** Unique in the card. */
  id: string;
  /** For humans. */
  name: string;
  /** For humans and for agents that look for help. */
  description: string;
  /** Keywords: at least one. */
  tags: string[];
  /** Things to ask. */
  examples?: string[];
  /** The media types that it takes, if not the card's. */
  inputModes?: string[];
  /** The media types that it gives, if not the card's. */
  outputModes?: string[];
  /** What is asked of a caller for this skill: any one of these. */
  securityRequirements?: SecurityRequirement[];
}

/** A JSON Web Signature over a card, detached. */
export interface AgentCardSignature {
  /** The protected header: JSON in base64url. */
  protected: string;
  /** The signature in base64url. */
  signature: string;
  /** The header that is not protected. */
  header?: Struct;
}

/** Ways to authenticate that are needed together, each with its scopes. */
export interface SecurityRequirement {
  /** Names of the card's security schemes. */
  schemes?: { [name: string]: { list?: string[] } };
}

/** A way to authenticate: exactly one member. */
export type SecurityScheme =
  | { apiKeySecurityScheme: ApiKeySecurityScheme }
  | { httpAuthSecurityScheme: HttpAuthSecurityScheme }
  | { oauth2SecurityScheme: OAuth2SecurityScheme }
  | { openIdConnectSecurityScheme: OpenIdConnectSecurityScheme }
  | { mtlsSecurityScheme: MutualTlsSecurityScheme };

/** A key in a header, query parameter or cookie. */
export interface ApiKeySecurityScheme {
  /** For humans. */
  description?: string;
  /** Where the key goes. */
  location: "query" | "header" | "cookie";
  /** The name of the header, query parameter or cookie. */
  name: string;
}

/** An HTTP authentication scheme. */
export interface HttpAuthSecurityScheme {
  /** For humans. */
  description?: string;
  /** The IANA name of the scheme, in any case: `Bearer`. */
  scheme: string;
  /** What a bearer token looks like: `JWT`. */
  bearerFormat?: string;
}

/** OAuth 2.0. */
export interface OAuth2SecurityScheme {
  /** For humans. */
  description?: string;
  /** How a token is got. */
  flows: OAuthFlows;
  /** The metadata of the authorization server (RFC 8414). */
  oauth2MetadataUrl?: string;
}

/** OpenID Connect. */
export interface OpenIdConnectSecurityScheme {
  /** For humans. */
  description?: string;
  /** The discovery document. */
  openIdConnectUrl: string;
}

/** A certificate of the client. */
export interface MutualTlsSecurityScheme {
  /** For humans. */
  description?: string;
}

/** How an OAuth 2.0 token is got: exactly one member. The last two are deprecated by OAuth and by A2A. */
export type OAuthFlows =
  | { authorizationCode: AuthorizationCodeOAuthFlow }
  | { clientCredentials: ClientCredentialsOAuthFlow }
  | { deviceCode: DeviceCodeOAuthFlow }
  | { implicit: ImplicitOAuthFlow }
  | { password: PasswordOAuthFlow };

/** What every flow has. */
export interface OAuthFlowCommon {
  /** Where the token is renewed. */
  refreshUrl?: string;
  /** The scopes and what they mean; may be empty. */
  scopes: { [scope: string]: string };
}

/** The user grants the token in a browser. */
export interface AuthorizationCodeOAuthFlow extends OAuthFlowCommon {
  /** Where the user grants it. */
  authorizationUrl: string;
  /** Where the token is got. */
  tokenUrl: string;
  /** Whether PKCE (RFC 7636) must be used. */
  pkceRequired?: boolean;
}

/** The client has credentials of its own. */
export interface ClientCredentialsOAuthFlow extends OAuthFlowCommon {
  /** Where the token is got. */
  tokenUrl: string;
}

/** The user grants the token on another device. */
export interface DeviceCodeOAuthFlow extends OAuthFlowCommon {
  /** Where the code for the user is got. */
  deviceAuthorizationUrl: string;
  /** Where the token is got. */
  tokenUrl: string;
}

/** A deprecated flow; here so that cards which name it can be read. */
export interface ImplicitOAuthFlow extends Partial<OAuthFlowCommon> {
  /** Where the user grants the token. */
  authorizationUrl?: string;
}

/** A deprecated flow; here so that cards which name it can be read. */
export interface PasswordOAuthFlow extends Partial<OAuthFlowCommon> {
  /** Where the token is got. */
  tokenUrl?: string;
}
