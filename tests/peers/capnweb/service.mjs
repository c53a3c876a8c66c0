// The small service that the vectors and the fuzz scripts are played against. The same service stands a second
// time in Rust, in crates/capnweb/tests/support/service.rs: what one of them does, the other must do.

import { RpcTarget } from "capnweb";

const ERRORS = { Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError };

class Counter extends RpcTarget {
  #value;
  #onDispose;

  constructor(start, onDispose) {
    super();
    this.#value = start;
    this.#onDispose = onDispose;
  }

  increment(by = 1) {
    this.#value += by;
    return this.#value;
  }

  get value() {
    return this.#value;
  }

  [Symbol.dispose]() {
    this.#onDispose();
  }
}

class Greeter extends RpcTarget {
  hi() {
    return "hi";
  }

  hello(name) {
    return `hello ${name}`;
  }
}

export class Service extends RpcTarget {
  // An own property: the reference refuses to show it, so that a class's fields stay private.
  own = "private";
  #disposed = 0;
  #gates = new Map();
  #kept;
  #sunk = [];

  // Plain values

  square(n) {
    return n * n;
  }

  add(a, b) {
    return a + b;
  }

  echo(value) {
    return value;
  }

  keys(value) {
    return Object.keys(value);
  }

  nothing() {}

  nil() {
    return null;
  }

  get val() {
    return 42;
  }

  tasks() {
    return [{ id: "a", n: 1 }, { id: "b", n: 2 }];
  }

  task(id) {
    return { id, state: "working" };
  }

  // Failing

  fail(name, message, props) {
    let error = new (ERRORS[name] ?? Error)(message);
    if (!(name in ERRORS)) error.name = name;
    throw Object.assign(error, props);
  }

  never() {
    return new Promise(() => {});
  }

  // Calls that end when another call says so

  gate(key) {
    return this.#gate(key).promise;
  }

  open(key, value) {
    this.#gate(key).resolve(value);
  }

  shut(key, message) {
    this.#gate(key).reject(new RangeError(message));
  }

  async lateCounter(key, start) {
    await this.gate(key);
    return this.makeCounter(start);
  }

  // Capabilities in results

  makeCounter(start = 0) {
    return new Counter(start, () => ++this.#disposed);
  }

  counters(n) {
    return Array.from({ length: n }, (_, i) => this.makeCounter(i));
  }

  get greeter() {
    return new Greeter();
  }

  nested() {
    return {
      list: [10, 20, [30, { deep: true }]],
      f: (x) => x + 1,
      s: new Greeter(),
      o: { a: { b: { c: 1 } } },
      nil: null,
      undef: undefined,
      text: "text",
    };
  }

  // A caller may pass back what it was given.
  async bump(counter, by) {
    return await counter.increment(by);
  }

  disposals() {
    return this.#disposed;
  }

  // Callbacks. Each awaits what it calls, so that the order of frames follows from the protocol alone.

  async cb(fn) {
    return await fn(1);
  }

  passOn(fn) {
    return fn(1);
  }

  async callWith(fn, x) {
    return await fn(x);
  }

  async callTimes(fn, n) {
    let results = [];
    for (let i = 0; i < n; ++i) results.push(await fn(i));
    return results;
  }

  async callMember(object, x) {
    return await object.on(x);
  }

  keep(fn) {
    this.#kept?.[Symbol.dispose]();
    this.#kept = fn.dup();
  }

  async callKept(x) {
    if (this.#kept === undefined) throw new TypeError("nothing is kept");
    return await this.#kept(x);
  }

  dropKept() {
    this.#kept?.[Symbol.dispose]();
    this.#kept = undefined;
  }

  // Streams

  chunks(list) {
    let left = list.slice();
    return new ReadableStream({
      pull(controller) {
        if (left.length > 0) controller.enqueue(left.shift());
        else controller.close();
      },
    });
  }

  async consume(readable) {
    let chunks = [];
    for await (let chunk of readable) chunks.push(chunk);
    return chunks;
  }

  ignore(_readable) {
    return "ignored";
  }

  sink() {
    return new WritableStream({
      write: (chunk) => {
        if (chunk === "bad") throw new RangeError("bad chunk");
        this.#sunk.push(chunk);
      },
      close: () => void this.#sunk.push("closed"),
      abort: () => void this.#sunk.push("aborted"),
    });
  }

  sunk() {
    return this.#sunk;
  }

  async writeTo(writable, list) {
    let writer = writable.getWriter();
    for (let chunk of list) await writer.write(chunk);
    await writer.close();
    return list.length;
  }

  #gate(key) {
    if (!this.#gates.has(key)) {
      let gate = Promise.withResolvers();
      gate.promise.catch(() => {});
      this.#gates.set(key, gate);
    }
    return this.#gates.get(key);
  }
}
