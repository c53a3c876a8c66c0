// Callbacks in every shape, that remember what they are told.

/** What one stream has told, whatever form it told it in. */
export class Told {
  /** `[method, event]`, in their order. */
  calls = [];
  /** `[reason, lastSeq, error]`, once it is over. */
  end = null;
  disposed = 0;

  seqs() {
    return this.calls.filter(([method]) => method !== "onTask").map(([, event]) => event.seq);
  }

  finals() {
    return this.calls.filter(([, event]) => event.final).length;
  }

  ended() {
    return new Promise((resolve) => {
      const look = () => (this.end === null ? setTimeout(look, 2) : resolve(this.end));
      look();
    });
  }
}

const METHODS = ["onTask", "onStatusUpdate", "onArtifactUpdate", "onMessage"];

/** An `RpcTarget` with every method. */
export function target(rpc, told, each = () => {}) {
  class Observer extends rpc.RpcTarget {
    onEnd(...end) {
      told.end = end;
    }
    [Symbol.dispose]() {
      ++told.disposed;
    }
  }
  for (const method of METHODS) {
    Observer.prototype[method] = (event) => {
      told.calls.push([method, event]);
      return each(event);
    };
  }
  return new Observer();
}

/** A plain object of functions. */
export function members(told, names = METHODS) {
  const object = Object.fromEntries(names.map((name) => [name, (event) => void told.calls.push([name, event])]));
  return { ...object, onEnd: (...end) => void (told.end = end) };
}

/** One function for everything, which is told no end. */
export function single(told) {
  return (element) => {
    const [method, event] = element.task
      ? ["onTask", element.task]
      : element.statusUpdate
        ? ["onStatusUpdate", element.statusUpdate]
        : ["onArtifactUpdate", element.artifactUpdate];
    told.calls.push([method, event]);
    if (element.final) told.end = ["completed", element.seq];
  };
}
