import type { Artifact, Asset, Check, Pull, Release, Run, Status } from "./state.ts";

/** Answers as GitHub writes them, every field that its description requires included. */
const WHEN = "2026-11-20T10:00:00Z";

/** @param api the API's address @param web where the web pages are */
export function objects(api: string, web: string) {
  const user = (login: string) => ({
    login,
    id: 583231,
    node_id: "U_1",
    avatar_url: `${web}/${login}.png`,
    gravatar_id: "",
    url: `${api}/users/${login}`,
    html_url: `${web}/${login}`,
    followers_url: `${api}/users/${login}/followers`,
    following_url: `${api}/users/${login}/following{/other_user}`,
    gists_url: `${api}/users/${login}/gists{/gist_id}`,
    starred_url: `${api}/users/${login}/starred{/owner}{/repo}`,
    subscriptions_url: `${api}/users/${login}/subscriptions`,
    organizations_url: `${api}/users/${login}/orgs`,
    repos_url: `${api}/users/${login}/repos`,
    events_url: `${api}/users/${login}/events{/privacy}`,
    received_events_url: `${api}/users/${login}/received_events`,
    type: "User",
    site_admin: false,
  });

  const repository = (name: string) => {
    const url = `${api}/repos/${name}`;
    const [owner = "", repo = ""] = name.split("/");
    const links = [
      "contributors",
      "deployments",
      "downloads",
      "events",
      "forks",
      "hooks",
      "languages",
      "merges",
      "stargazers",
      "subscribers",
      "subscription",
      "tags",
      "teams",
    ].map((part) => [`${part}_url`, `${url}/${part}`]);
    const patterns = [
      "archive",
      "assignees",
      "blobs",
      "branches",
      "collaborators",
      "comments",
      "commits",
      "compare",
      "contents",
      "git_commits",
      "git_refs",
      "git_tags",
      "issue_comment",
      "issue_events",
      "issues",
      "keys",
      "labels",
      "milestones",
      "notifications",
      "pulls",
      "releases",
      "statuses",
      "trees",
    ].map((part) => [`${part}_url`, `${url}/${part}{/x}`]);
    return {
      id: 1296269,
      node_id: "R_1",
      name: repo,
      full_name: name,
      owner: user(owner),
      private: false,
      html_url: `${web}/${name}`,
      description: null,
      fork: false,
      url,
      ...Object.fromEntries([...links, ...patterns]),
      clone_url: `${web}/${name}.git`,
      default_branch: "main",
      forks: 0,
      forks_count: 0,
      git_url: `git:${name}.git`,
      has_downloads: true,
      has_issues: true,
      has_projects: true,
      has_wiki: true,
      has_pages: false,
      has_discussions: false,
      homepage: null,
      language: null,
      archived: false,
      disabled: false,
      mirror_url: null,
      open_issues: 0,
      open_issues_count: 0,
      license: null,
      pushed_at: WHEN,
      size: 108,
      ssh_url: `git@${name}.git`,
      stargazers_count: 0,
      svn_url: `${web}/${name}`,
      watchers: 0,
      watchers_count: 0,
      created_at: WHEN,
      updated_at: WHEN,
    };
  };

  const artifact = (a: Artifact) => ({
    id: a.id,
    node_id: `MDg6QXJ0aWZhY3Q${a.id}`,
    name: a.name,
    size_in_bytes: a.zip.length,
    url: `${api}/repos/${a.repo}/actions/artifacts/${a.id}`,
    archive_download_url: `${api}/repos/${a.repo}/actions/artifacts/${a.id}/zip`,
    expired: a.expired ?? false,
    created_at: WHEN,
    expires_at: "2027-02-18T10:00:00Z",
    updated_at: WHEN,
    digest: `sha256:${"0".repeat(64)}`,
    workflow_run: {
      id: a.run,
      repository_id: 1296269,
      head_repository_id: 1296269,
      head_branch: a.branch ?? "main",
      head_sha: a.sha ?? "a".repeat(40),
    },
  });

  const run = (r: Run) => {
    const url = `${api}/repos/${r.repo}/actions/runs/${r.id}`;
    return {
      id: r.id,
      name: "build",
      node_id: "WFR_1",
      check_suite_id: 1,
      check_suite_node_id: "CS_1",
      head_branch: r.branch ?? "main",
      head_sha: r.sha,
      path: ".github/workflows/build.yml",
      run_number: 1,
      run_attempt: 1,
      event: "pull_request",
      display_title: "build",
      status: "completed",
      conclusion: "success",
      workflow_id: 1,
      url,
      html_url: `${web}/${r.repo}/actions/runs/${r.id}`,
      pull_requests: [],
      created_at: WHEN,
      updated_at: WHEN,
      jobs_url: `${url}/jobs`,
      logs_url: `${url}/logs`,
      check_suite_url: `${api}/repos/${r.repo}/check-suites/1`,
      artifacts_url: `${url}/artifacts`,
      cancel_url: `${url}/cancel`,
      rerun_url: `${url}/rerun`,
      workflow_url: `${api}/repos/${r.repo}/actions/workflows/1`,
      head_commit: {
        id: r.sha,
        tree_id: r.sha,
        message: "a commit",
        timestamp: WHEN,
        author: { name: "a", email: "a@example.com" },
        committer: { name: "a", email: "a@example.com" },
      },
      repository: repository(r.repo),
      head_repository: repository(r.repo),
    };
  };

  const app = (slug: string) => ({
    id: 9426,
    slug,
    node_id: "A_1",
    owner: user("someone"),
    name: slug,
    description: null,
    external_url: "https://example.com",
    html_url: `${web}/apps/${slug}`,
    created_at: WHEN,
    updated_at: WHEN,
    permissions: { checks: "write" },
    events: [],
  });

  const check = (c: Check) => ({
    id: c.id,
    node_id: "CR_1",
    head_sha: c.sha,
    external_id: "",
    url: `${api}/repos/${c.repo}/check-runs/${c.id}`,
    html_url: `${web}/${c.repo}/runs/${c.id}`,
    details_url: c.details,
    status: c.conclusion === null ? "in_progress" : "completed",
    conclusion: c.conclusion,
    started_at: WHEN,
    completed_at: c.conclusion === null ? null : WHEN,
    output: { title: null, summary: null, text: null, annotations_count: 0, annotations_url: `${api}/x` },
    name: c.name,
    check_suite: { id: 1 },
    app: app(c.app),
    pull_requests: [],
  });

  const status = (s: Status) => ({
    url: `${api}/repos/${s.repo}/statuses/${s.sha}`,
    avatar_url: `${web}/x.png`,
    id: 1,
    node_id: "S_1",
    state: s.state,
    description: null,
    target_url: s.target,
    context: s.context,
    created_at: WHEN,
    updated_at: WHEN,
  });

  const combined = (repo: string, sha: string, statuses: readonly Status[]) => ({
    state: "success",
    statuses: statuses.map(status),
    sha,
    total_count: statuses.length,
    repository: repository(repo),
    commit_url: `${api}/repos/${repo}/commits/${sha}`,
    url: `${api}/repos/${repo}/commits/${sha}/status`,
  });

  const label = (name: string) => ({
    id: 1,
    node_id: "L_1",
    url: `${api}/labels/${name}`,
    name,
    description: null,
    color: "ededed",
    default: false,
  });

  const pull = (p: Pull) => {
    const url = `${api}/repos/${p.repo}/pulls/${p.number}`;
    const html = `${web}/${p.repo}/pull/${p.number}`;
    const side = (repo: string | null, ref: string, sha: string) => ({
      label: `x:${ref}`,
      ref,
      sha,
      user: user("x"),
      repo: repo === null ? null : repository(repo),
    });
    return {
      url,
      id: p.number,
      node_id: "PR_1",
      html_url: html,
      diff_url: `${html}.diff`,
      patch_url: `${html}.patch`,
      issue_url: `${api}/repos/${p.repo}/issues/${p.number}`,
      commits_url: `${url}/commits`,
      review_comments_url: `${url}/comments`,
      review_comment_url: `${url}/comments{/number}`,
      comments_url: `${api}/repos/${p.repo}/issues/${p.number}/comments`,
      statuses_url: `${api}/repos/${p.repo}/statuses/${p.sha}`,
      number: p.number,
      state: p.state ?? "open",
      locked: false,
      title: "Add a recipe",
      user: user(p.author),
      body: null,
      labels: (p.labels ?? []).map(label),
      milestone: null,
      active_lock_reason: null,
      created_at: WHEN,
      updated_at: WHEN,
      closed_at: null,
      merged_at: null,
      merge_commit_sha: null,
      assignee: null,
      assignees: [],
      requested_reviewers: [],
      requested_teams: [],
      head: side(`${p.author}/${p.repo.split("/")[1]}`, "recipe", p.sha),
      base: side(p.repo, "main", "b".repeat(40)),
      _links: Object.fromEntries(
        ["self", "html", "issue", "comments", "review_comments", "review_comment", "commits", "statuses"].map((k) => [
          k,
          { href: url },
        ]),
      ),
      author_association: "CONTRIBUTOR",
      auto_merge: null,
      draft: false,
      merged: false,
      mergeable: true,
      rebaseable: true,
      mergeable_state: "clean",
      merged_by: null,
      comments: 0,
      review_comments: 0,
      maintainer_can_modify: true,
      commits: 1,
      additions: 1,
      deletions: 0,
      changed_files: 1,
    };
  };

  /** @param isPull whether it is a pull request, which GitHub counts among the issues */
  const issue = (p: Pull, isPull: boolean) => {
    const url = `${api}/repos/${p.repo}/issues/${p.number}`;
    return {
      url,
      repository_url: `${api}/repos/${p.repo}`,
      labels_url: `${url}/labels{/name}`,
      comments_url: `${url}/comments`,
      events_url: `${url}/events`,
      html_url: `${web}/${p.repo}/${isPull ? "pull" : "issues"}/${p.number}`,
      id: p.number,
      node_id: "I_1",
      number: p.number,
      title: "Add a recipe",
      user: user(p.author),
      labels: (p.labels ?? []).map(label),
      state: p.state ?? "open",
      locked: false,
      assignee: null,
      assignees: [],
      milestone: null,
      comments: 0,
      created_at: WHEN,
      updated_at: WHEN,
      closed_at: null,
      author_association: "CONTRIBUTOR",
      ...(isPull
        ? {
            pull_request: {
              url: `${api}/repos/${p.repo}/pulls/${p.number}`,
              html_url: `${web}/${p.repo}/pull/${p.number}`,
              diff_url: `${web}/${p.repo}/pull/${p.number}.diff`,
              patch_url: `${web}/${p.repo}/pull/${p.number}.patch`,
            },
          }
        : {}),
    };
  };

  const asset = (r: Release, a: Asset) => ({
    url: `${api}/repos/${r.repo}/releases/assets/${a.id}`,
    browser_download_url: `${web}/${r.repo}/releases/download/${r.tag}/${a.name}`,
    id: a.id,
    node_id: "RA_1",
    name: a.name,
    label: null,
    state: "uploaded",
    content_type: "application/octet-stream",
    size: a.bytes.length,
    digest: a.digest,
    download_count: 0,
    created_at: WHEN,
    updated_at: WHEN,
    uploader: user("someone"),
  });

  const release = (r: Release) => {
    const url = `${api}/repos/${r.repo}/releases/${r.id}`;
    return {
      url,
      assets_url: `${url}/assets`,
      upload_url: `${url}/assets{?name,label}`,
      html_url: `${web}/${r.repo}/releases/tag/${r.tag}`,
      id: r.id,
      author: user("someone"),
      node_id: "RE_1",
      tag_name: r.tag,
      target_commitish: "main",
      name: r.tag,
      draft: false,
      prerelease: false,
      created_at: WHEN,
      published_at: WHEN,
      // The release itself carries the first of its files only.
      assets: r.assets.slice(0, 30).map((a) => asset(r, a)),
      tarball_url: `${api}/repos/${r.repo}/tarball/${r.tag}`,
      zipball_url: `${api}/repos/${r.repo}/zipball/${r.tag}`,
      body: "",
    };
  };

  const commit = (repo: string, sha: string) => {
    const url = `${api}/repos/${repo}/commits/${sha}`;
    const person = { name: "a", email: "a@example.com", date: WHEN };
    return {
      url,
      sha,
      node_id: "C_1",
      html_url: `${web}/${repo}/commit/${sha}`,
      comments_url: `${url}/comments`,
      commit: {
        url,
        author: person,
        committer: person,
        message: "a commit",
        comment_count: 0,
        tree: { sha, url: `${api}/repos/${repo}/git/trees/${sha}` },
      },
      author: user("a"),
      committer: user("a"),
      parents: [],
    };
  };

  const me = (login: string) => ({
    ...user(login),
    name: null,
    company: null,
    blog: null,
    location: null,
    email: null,
    hireable: null,
    bio: null,
    public_repos: 1,
    public_gists: 0,
    followers: 0,
    following: 0,
    created_at: WHEN,
    updated_at: WHEN,
  });

  return { me, artifact, run, check, combined, pull, issue, asset, release, commit };
}
