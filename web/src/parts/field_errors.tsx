/** The server's messages about a field, shown below it. */
export function FieldErrors({ messages }: { messages: string[] | undefined }) {
  return (
    <div class="field-message">
      {messages?.map((message) => (
        <p key={message} class="field-error">
          {message}
        </p>
      ))}
    </div>
  );
}
