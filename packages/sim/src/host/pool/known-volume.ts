// What a pool keeps of each of its volumes.

/** A volume as its pool knows it; the rest is in the file. */
export interface Volume {
  readonly name: string;
  readonly path: string;
  /** What it was made as, or found as. */
  format: string;
  /** Found by a look at the storage: more of an image's header is known then. */
  isProbed: boolean;
  backing: { readonly path: string; readonly format: string } | undefined;
  /** Copies, uploads and downloads under way. */
  useCount: number;
  isBuilding: boolean;
}

export type VolumeMap = Map<string, Volume>;
