// An echo agent on the JavaScript SDK, as its samples build one. Listens on the port that it is given.

import { AGENT_CARD_PATH, A2A_PROTOCOL_VERSION, TaskState } from "@a2a-js/sdk";
import { AgentEvent, DefaultRequestHandler, InMemoryTaskStore } from "@a2a-js/sdk/server";
import { UserBuilder, agentCardHandler, jsonRpcHandler } from "@a2a-js/sdk/server/express";
import express from "express";

const port = Number(process.argv[2]);

const status = (state) => ({ state, timestamp: new Date().toISOString(), message: undefined });

const echo = {
  async execute({ userMessage, taskId, contextId }, bus) {
    const submitted = status(TaskState.TASK_STATE_SUBMITTED);
    bus.publish(AgentEvent.task({ id: taskId, contextId, status: submitted, artifacts: [], history: [userMessage], metadata: {} }));
    bus.publish(AgentEvent.statusUpdate({ taskId, contextId, status: status(TaskState.TASK_STATE_WORKING), metadata: {} }));
    const artifact = { artifactId: "echo", name: "", description: "", parts: userMessage.parts, metadata: undefined, extensions: [] };
    bus.publish(AgentEvent.artifactUpdate({ taskId, contextId, artifact, lastChunk: true, append: false, metadata: undefined }));
    bus.publish(AgentEvent.statusUpdate({ taskId, contextId, status: status(TaskState.TASK_STATE_COMPLETED), metadata: {} }));
    bus.finished();
  },
  async cancelTask() {},
};

const card = {
  name: "Echo",
  description: "Says back what it hears",
  supportedInterfaces: [
    { url: `http://127.0.0.1:${port}/`, protocolBinding: "JSONRPC", tenant: "", protocolVersion: A2A_PROTOCOL_VERSION },
  ],
  version: "1.0.0",
  capabilities: { streaming: true, pushNotifications: false, extensions: [], extendedAgentCard: false },
  securitySchemes: {},
  securityRequirements: [],
  defaultInputModes: ["text/plain"],
  defaultOutputModes: ["text/plain"],
  skills: [{ id: "echo", name: "Echo", description: "Says back what it hears", tags: ["echo"], examples: [], inputModes: [], outputModes: [], securityRequirements: [] }],
  documentationUrl: "",
  signatures: [],
};

const requestHandler = new DefaultRequestHandler(card, new InMemoryTaskStore(), echo);
const app = express();
app.use(`/${AGENT_CARD_PATH}`, agentCardHandler({ agentCardProvider: requestHandler }));
app.use(jsonRpcHandler({ requestHandler, userBuilder: UserBuilder.noAuthentication }));
app.listen(port, "127.0.0.1");
