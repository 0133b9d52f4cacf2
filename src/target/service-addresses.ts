/*
 * Which addresses are whose, as they are typed: the file of a service is loaded only when it is a target.
 */

export function isPrefixDev(text: string): boolean {
  return (
    /^prefix(\+http)?:\/\//i.test(text) ||
    /^https?:\/\/([^/@?#]*@)?([a-z0-9-]+\.)*prefix\.dev(:\d+)?([/?#]|$)/i.test(text)
  );
}

export function isQuetz(text: string): boolean {
  return /^quetz(\+http)?:\/\//i.test(text) || /^https?:\/\/([^/@?#]*@)?([a-z0-9-]+\.)*quetz[.:/]/i.test(text);
}

export function isArtifactory(text: string): boolean {
  return (
    /^artifactory(\+http)?:\/\//i.test(text) ||
    /^https?:\/\/[^?#]*\/artifactory\/(api\/conda\/)?[^/?#]+\/?$/i.test(text) ||
    /^https?:\/\/([^/@?#]*@)?[a-z0-9-]+\.jfrog\.io\//i.test(text)
  );
}

export function isAnaconda(text: string): boolean {
  return (
    /^anaconda(\+http)?:\/\//i.test(text) ||
    /^https?:\/\/([^/@?#]*@)?((conda|api|www)\.)?anaconda\.org(:\d+)?\//i.test(text)
  );
}

export function isCloudsmith(text: string): boolean {
  return (
    /^cloudsmith(\+http)?:\/\//i.test(text) ||
    /^https?:\/\/([^/@?#]*@)?([a-z0-9-]+\.)*cloudsmith\.(io|com)(:\d+)?\//i.test(text)
  );
}

export function isGitea(text: string): boolean {
  return (
    /^(gitea|forgejo)(\+http)?:\/\//i.test(text) ||
    /^https?:\/\/[^?#]*\/api\/packages\/[^/?#]+\/conda(\/|$)/i.test(text)
  );
}
