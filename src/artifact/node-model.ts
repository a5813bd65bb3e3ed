/** A model reference, whatever its kind, as an open ModelArtifact: a path, a folder, or a model of the hub. */
import type { ModelArtifact } from "./artifact.ts";
import { parseHubReference } from "./hub-reference.ts";
import { pullModel, type HubOptions } from "./node-hub.ts";
import { openArtifact } from "./node-open.ts";

/**
 * Opens `path`, a folder, or `hf:owner/repo[:file-or-quant]` (fetched first where it isn't on this machine).
 * @throws ArtifactError, NetworkError
 */
export async function openModel(reference: string, options: HubOptions = {}): Promise<ModelArtifact> {
  return openArtifact(await resolveModel(reference, options));
}

/** The path that a reference stands for; a model of the hub is fetched where it isn't on this machine. */
export async function resolveModel(reference: string, options: HubOptions = {}): Promise<string> {
  const hub = parseHubReference(reference);
  return hub === undefined ? reference : pullModel(hub, options);
}
