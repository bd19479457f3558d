/** Who asks a service for what is done at once, without a task, and until when. */
export interface ServiceContext {
  readonly userName: string;
  readonly signal: AbortSignal;
  /** If-Match. */
  readonly ifRevision?: number;
}
