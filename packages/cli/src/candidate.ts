/** A word that completion offers. */
export interface Candidate {
  readonly value: string;
  readonly description?: string;
}
