// What a program that is written in TypeScript relies on. Compiled, never run.

import { newWebSocketRpcSession, type RpcStub } from "capnweb";
import { WebSocket } from "ws";
import {
  type A2aService,
  type AgentCard,
  connect,
  EventCollector,
  followTask,
  type SendMessageResponse,
  type StreamEvent,
  type Task,
  type TaskHandle,
} from "../src/index.js";

export async function byClient(): Promise<void> {
  const client = connect("wss://a.example", { scheme: "Bearer", credentials: "x" }, { WebSocket });
  connect("wss://a.example", async () => "token", { WebSocket: globalThis.WebSocket });
  for await (const event of client.stream("hi", { historyLength: 0 })) {
    const text: string | undefined = event.artifactUpdate?.artifact.parts[0]?.text;
    const seq: number = event.seq;
    if (event.statusUpdate) {
      // @ts-expect-error: exactly one member is there
      event.artifactUpdate.artifact;
    }
    void [text, seq];
  }
  const answer: SendMessageResponse = await client.sendMessage({ parts: [{ text: "hi" }], taskId: "t" });
  const task: Task | undefined = answer.task;
  // @ts-expect-error: a part has one content
  await client.sendMessage([{ text: "hi", url: "x" }]);
  client.sendMessageStreaming("hi", undefined, new EventCollector());
  client.subscribeToTask("t", (event: StreamEvent) => console.log(event.final), 3);
  const stream: ReadableStream<StreamEvent> = client.follow("t", 3).toReadableStream();
  const card: AgentCard = await client.getAgentCard();
  const session = await client.session();
  const { secret, grant } = await session.task("t").share("observe", { label: "x" });
  const isLive: boolean = (await grant.info()).live;
  const handle: RpcStub<TaskHandle> = await (await client.service()).claim(secret);
  followTask(handle, 0).close();
  void [task, stream, card, isLive];
}

export async function byCapnweb(): Promise<void> {
  const service = newWebSocketRpcSession<A2aService>("wss://a.example/capnweb");
  const session = service.authenticate("token");
  const message = { messageId: "m", role: "ROLE_USER" as const, parts: [{ text: "hi" }] };
  const started = session.sendMessageStreaming(message, undefined, new EventCollector());
  const state: string = (await started.task.get()).status.state;
  using subscription = (await session.subscribeToTask("t", { onEnd: () => {} }, 3)).subscription;
  const ids: string[] = (await session.listTasks()).tasks.map((task) => task.id);
  void [state, subscription, ids];
}
