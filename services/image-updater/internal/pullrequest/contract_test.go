package pullrequest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	slashpath "path"
	"slices"
	"strings"
)

// operation is a call that a host describes: its path, with a star for each variable part, and the names that its query and its body may
// have. The host ignores any other name, or refuses the call.
type operation struct{ method, path, query, body string }

// published are the operations that are used here, as the hosts describe them: GitHub in its OpenAPI description (@octokit/openapi 23.0.2),
// Gitea in the Swagger description of 1.27.3, GitLab in its own client for Go (client-go 1.46.0), Bitbucket Data Center in the OpenAPI
// description of 9.4, Azure DevOps in the Swagger description of API 7.1. That of Bitbucket Cloud (2024) has the description of a request in
// its words only, and the names for pages and filters in a chapter of its own.
var published = map[Kind][]operation{
	GitHub: {
		{"GET", "/api/v3/repos/*/*/pulls", "base direction head page per_page sort state", ""},
		{"POST", "/api/v3/repos/*/*/pulls", "", "base body draft head head_repo issue maintainer_can_modify title"},
		{"GET", "/api/v3/repos/*/*/pulls/*", "", ""},
		{"PATCH", "/api/v3/repos/*/*/pulls/*", "", "base body maintainer_can_modify state title"},
		{"PUT", "/api/v3/repos/*/*/pulls/*/merge", "", "commit_message commit_title merge_method sha"},
		{"POST", "/api/v3/repos/*/*/pulls/*/requested_reviewers", "", "reviewers team_reviewers"},
		{"POST", "/api/v3/repos/*/*/issues/*/labels", "", "labels"},
		{"POST", "/api/v3/repos/*/*/issues/*/comments", "", "body"},
	},
	Gitea: {
		{"GET", "/api/v1/repos/*/*/pulls", "base_branch labels limit milestone page poster sort state", ""},
		{"POST", "/api/v1/repos/*/*/pulls", "", "allow_maintainer_edit assignee assignees base body due_date head labels milestone reviewers team_reviewers title"},
		{"GET", "/api/v1/repos/*/*/pulls/*", "", ""},
		{"PATCH", "/api/v1/repos/*/*/pulls/*", "", "allow_maintainer_edit assignee assignees base body content_version due_date labels milestone state title unset_due_date"},
		{"POST", "/api/v1/repos/*/*/pulls/*/merge", "", "delete_branch_after_merge do force_merge head_commit_id merge_commit_id merge_message_field merge_title_field merge_when_checks_succeed"},
		{"POST", "/api/v1/repos/*/*/pulls/*/requested_reviewers", "", "reviewers team_reviewers"},
		{"POST", "/api/v1/repos/*/*/issues/*/labels", "", "labels"},
		{"POST", "/api/v1/repos/*/*/issues/*/comments", "", "body"},
		{"GET", "/api/v1/repos/*/*/labels", "limit page", ""},
	},
	Bitbucket: {
		{"GET", "/2.0/repositories/*/*/pullrequests", "page pagelen q sort state", ""},
		{"POST", "/2.0/repositories/*/*/pullrequests", "", "author close_source_branch closed_by comment_count created_on description destination id links merge_commit participants reason rendered reviewers source state summary task_count title type updated_on"},
		{"GET", "/2.0/repositories/*/*/pullrequests/*", "", ""},
		{"PUT", "/2.0/repositories/*/*/pullrequests/*", "", "author close_source_branch closed_by comment_count created_on description destination id links merge_commit participants reason rendered reviewers source state summary task_count title type updated_on"},
		{"POST", "/2.0/repositories/*/*/pullrequests/*/decline", "", ""},
		{"POST", "/2.0/repositories/*/*/pullrequests/*/comments", "", "content created_on deleted id inline links parent pending pullrequest resolution type updated_on user"},
	},
	BitbucketServer: {
		{"GET", "/rest/api/latest/projects/*/repos/*/pull-requests", "at direction draft filterText limit order start state withAttributes withProperties", ""},
		{"POST", "/rest/api/latest/projects/*/repos/*/pull-requests", "", "closed closedDate createdDate description descriptionAsHtml draft fromRef htmlDescription id links locked open participants reviewers state title toRef updatedDate version"},
		{"GET", "/rest/api/latest/projects/*/repos/*/pull-requests/*", "", ""},
		{"PUT", "/rest/api/latest/projects/*/repos/*/pull-requests/*", "", "closed closedDate createdDate description descriptionAsHtml draft fromRef htmlDescription id links locked open participants reviewers state title toRef updatedDate version"},
		{"POST", "/rest/api/latest/projects/*/repos/*/pull-requests/*/merge", "version", "autoMerge autoSubject message strategyId version"},
		{"POST", "/rest/api/latest/projects/*/repos/*/pull-requests/*/decline", "version", "comment version"},
		{"POST", "/rest/api/latest/projects/*/repos/*/pull-requests/*/comments", "", "anchor anchored author comments createdDate html id parent pending properties reply resolvedDate resolver severity state text threadResolved threadResolvedDate threadResolver updatedDate version"},
	},
	Azure: {
		{"GET", "/*/*/_apis/git/repositories/*/pullrequests", "$skip $top api-version maxCommentLength searchCriteria.creatorId searchCriteria.includeLinks searchCriteria.maxTime searchCriteria.minTime searchCriteria.queryTimeRangeType searchCriteria.repositoryId searchCriteria.reviewerId searchCriteria.sourceRefName searchCriteria.sourceRepositoryId searchCriteria.status searchCriteria.targetRefName", ""},
		{"POST", "/*/*/_apis/git/repositories/*/pullrequests", "api-version supportsIterations", "_links artifactId autoCompleteSetBy closedBy closedDate codeReviewId commits completionOptions completionQueueTime createdBy creationDate description forkSource hasMultipleMergeBases isDraft labels lastMergeCommit lastMergeSourceCommit lastMergeTargetCommit mergeFailureMessage mergeFailureType mergeId mergeOptions mergeStatus pullRequestId remoteUrl repository reviewers sourceRefName status supportsIterations targetRefName title url workItemRefs"},
		{"GET", "/*/*/_apis/git/repositories/*/pullrequests/*", "$skip $top api-version includeCommits includeWorkItemRefs maxCommentLength", ""},
		{"PATCH", "/*/*/_apis/git/repositories/*/pullrequests/*", "api-version", "_links artifactId autoCompleteSetBy closedBy closedDate codeReviewId commits completionOptions completionQueueTime createdBy creationDate description forkSource hasMultipleMergeBases isDraft labels lastMergeCommit lastMergeSourceCommit lastMergeTargetCommit mergeFailureMessage mergeFailureType mergeId mergeOptions mergeStatus pullRequestId remoteUrl repository reviewers sourceRefName status supportsIterations targetRefName title url workItemRefs"},
		{"POST", "/*/*/_apis/git/repositories/*/pullrequests/*/labels", "api-version projectId", "name"},
		{"GET", "/*/*/_apis/git/repositories/*/pullrequests/*/reviewers", "api-version", ""},
		{"PUT", "/*/*/_apis/git/repositories/*/pullrequests/*/reviewers/*", "api-version", "_links descriptor directoryAlias displayName hasDeclined id imageUrl inactive isAadIdentity isContainer isDeletedInOrigin isFlagged isReapprove isRequired profileUrl reviewerUrl uniqueName url vote votedFor"},
		{"POST", "/*/*/_apis/git/repositories/*/pullrequests/*/threads", "api-version", "_links comments id identities isDeleted lastUpdatedDate properties publishedDate pullRequestThreadContext status threadContext"},
	},
	GitLab: {
		{"GET", "/api/v4/projects/*/merge_requests", "approved_by_ids approver_ids assignee_id author_id author_username created_after created_before environment iids[] labels milestone my_reaction_emoji order_by page per_page reviewer_id reviewer_username scope search sort source_branch state target_branch updated_after updated_before view wip with_labels_details with_merge_status_recheck", ""},
		{"GET", "/api/v4/projects/*/merge_requests/*", "", ""},
		{"POST", "/api/v4/projects/*/merge_requests", "", "allow_collaboration approvals_before_merge assignee_id assignee_ids description labels milestone_id remove_source_branch reviewer_ids source_branch squash target_branch target_project_id title"},
		{"PUT", "/api/v4/projects/*/merge_requests/*", "", "add_labels allow_collaboration assignee_id assignee_ids description discussion_locked labels milestone_id remove_labels remove_source_branch reviewer_ids squash state_event target_branch title"},
		{"PUT", "/api/v4/projects/*/merge_requests/*/merge", "", "auto_merge merge_commit_message merge_when_pipeline_succeeds sha should_remove_source_branch squash squash_commit_message"},
		{"POST", "/api/v4/projects/*/merge_requests/*/notes", "", "body created_at internal merge_request_diff_head_sha"},
		{"GET", "/api/v4/users", "active blocked page per_page search username", ""},
	},
}

// keepsTo checks a call against what the host describes.
func (f *fake) keepsTo(r *http.Request) {
	kind := f.kind
	if strings.HasSuffix(r.URL.Path, "/graphql") {
		return
	}
	at := slices.IndexFunc(published[kind], func(o operation) bool {
		fits, _ := slashpath.Match(o.path, strings.ReplaceAll(r.URL.EscapedPath(), "pullRequests", "pullrequests"))
		return fits && o.method == r.Method
	})
	if at < 0 {
		f.t.Errorf("%s does not describe %s %s", kind, r.Method, r.URL)
		return
	}
	for name := range r.URL.Query() {
		f.knows(r, published[kind][at].query, name)
	}
	data, err := io.ReadAll(r.Body)
	if err != nil {
		f.t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(data))
	var body map[string]any
	if len(data) > 0 {
		if err := json.Unmarshal(data, &body); err != nil {
			f.t.Error(err)
		}
	}
	for name := range body {
		if kind == Gitea {
			name = strings.ToLower(name) // in either case, as older servers know it in upper case only
		}
		f.knows(r, published[kind][at].body, name)
	}
}

func (f *fake) knows(r *http.Request, names, name string) {
	if !slices.Contains(strings.Fields(names), name) {
		f.t.Errorf("%s %s of %s has no %q", r.Method, r.URL.Path, f.kind, name)
	}
}
